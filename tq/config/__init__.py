"""Configuration: a YAML file, the environment and flags become one frozen, typed value.

    config = load_broker("tq.yaml", os.environ, {"port": "7000"})
    config.broker.port

A flag beats the environment (`TQ_` and the flag's name), the environment beats the file, the file beats the
defaults. Everything that is wrong anywhere is raised at once as `ConfigProblems`.

Why not pydantic-settings: it checks values that were already built, so it can name neither line nor column, and
duplicate keys, aliases and tags are gone by then. The walk here reads YAML's own nodes.
"""

from tq.config.load import load_broker, load_worker
from tq.config.models import (
    ApiKeySection,
    ApiSection,
    AuthSection,
    BackendSection,
    BrokerConfig,
    BrokerSection,
    MonitoringSection,
    PersistenceSection,
    RaftSection,
    StackduckSection,
    WorkerConfig,
    WorkerSection,
)
from tq.config.problems import ConfigProblems, Problem
from tq.config.settings import Flag, differences, flags_of
from tq.config.values import Peer

__all__ = [
    "ApiKeySection",
    "ApiSection",
    "AuthSection",
    "BackendSection",
    "BrokerConfig",
    "BrokerSection",
    "ConfigProblems",
    "Flag",
    "MonitoringSection",
    "Peer",
    "PersistenceSection",
    "Problem",
    "RaftSection",
    "StackduckSection",
    "WorkerConfig",
    "WorkerSection",
    "differences",
    "flags_of",
    "load_broker",
    "load_worker",
]
