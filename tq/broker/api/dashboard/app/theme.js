// Light, dark or what the system says. A classic script in the head: it runs before the first paint, so that a dark
// page never flashes light. The button of the shell changes it.
(() => {
  const chosen = localStorage.getItem('tq.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset['theme'] = chosen;
})();
