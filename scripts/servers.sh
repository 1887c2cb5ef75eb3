#!/bin/sh
# Installs Redis, RabbitMQ and PostgreSQL from Debian where they are missing, and starts none of them: tests run
# private instances. Needs root, or sudo that asks nothing.
set -eu

missing=
command -v redis-server >/dev/null || missing="$missing redis-server"
ls /usr/lib/rabbitmq/bin/rabbitmq-server >/dev/null 2>&1 || missing="$missing rabbitmq-server"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
test -n "$missing" || exit 0

as_root=
test "$(id -u)" = 0 || as_root="sudo -n"

# Debian starts a service when its package is installed, unless this program says no.
policy=/usr/sbin/policy-rc.d
if ! test -e "$policy"; then
  printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
  $as_root chmod 755 "$policy"
  trap '$as_root rm -f "$policy"' EXIT
fi

log=$(mktemp)
{ $as_root apt-get update -qq &&
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
    --no-install-recommends $missing; } </dev/null >"$log" 2>&1 || {
  cat "$log" >&2
  echo "the tests need$missing (Debian: apt install$missing)" >&2
  exit 1
}
rm -f "$log"
