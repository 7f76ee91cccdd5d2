// Loaded before the page is painted, so that it never flashes in the other theme.
(function () {
  "use strict";
  var kept = null;
  try { kept = localStorage.getItem("dacapo-theme"); } catch (_) { /* Storage may be forbidden. */ }
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
