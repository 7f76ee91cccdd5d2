// What the pages cannot do by themselves: themes, copying, dialogs, and what belongs to live updates.
(function () {
  "use strict";

  // Themes: as the system says, light, dark.
  var themes = ["auto", "light", "dark"];
  var button = document.getElementById("theme");
  function theme() { return document.documentElement.dataset.theme || "auto"; }
  function show() { document.getElementById("theme-name").textContent = theme(); }
  button.hidden = false;
  show();
  button.addEventListener("click", function () {
    var next = themes[(themes.indexOf(theme()) + 1) % themes.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "auto") localStorage.removeItem("dacapo-theme");
      else localStorage.setItem("dacapo-theme", next);
    } catch (_) { /* It holds for this page, then. */ }
    show();
  });

  var dialog = document.getElementById("dialog");
  document.addEventListener("click", function (event) {
    var copy = event.target.closest("[data-copy]");
    if (copy && navigator.clipboard) {
      navigator.clipboard.writeText(copy.dataset.copy).then(function () {
        copy.classList.add("copied");
        setTimeout(function () { copy.classList.remove("copied"); }, 1200);
      });
    }
    if (event.target.closest("[data-close]") && dialog.open) {
      event.preventDefault();
      dialog.close();
    }
    // A press beside the dialog closes it.
    if (event.target === dialog) dialog.close();
    var link = event.target.closest("a[href*='#s-']");
    if (link) setTimeout(openNamed, 0);
  });

  document.addEventListener("htmx:afterSwap", function (event) {
    if (event.detail.target.id === "dialog-body" && !dialog.open) dialog.showModal();
  });

  // The step that the address names is opened.
  function openNamed() {
    var id = decodeURIComponent(location.hash.slice(1));
    var row = id && document.getElementById(id);
    if (row && row.tagName === "DETAILS") {
      row.open = true;
      row.scrollIntoView({ block: "center" });
    }
  }
  window.addEventListener("hashchange", openNamed);
  openNamed();

  // Pages that nobody sees ask for nothing.
  document.addEventListener("htmx:beforeRequest", function (event) {
    var element = event.detail.elt;
    var isPoll = (element.getAttribute("hx-trigger") || "").indexOf("every") === 0;
    if (isPoll && (document.hidden || dialog.open)) event.preventDefault();
  });

  // What is open stays open when it is exchanged.
  var open = [];
  document.addEventListener("htmx:oobBeforeSwap", function (event) {
    open = Array.prototype.map.call(event.detail.target.querySelectorAll("details[id][open]"), function (one) { return one.id; });
  });
  document.addEventListener("htmx:oobAfterSwap", function () {
    open.forEach(function (id) {
      var one = document.getElementById(id);
      if (one) one.open = true;
    });
    open = [];
  });

  // A server that does not answer is said to; where nothing would show at all the browser shows what is wrong.
  var offline = document.getElementById("offline");
  function failed(event) {
    var target = event.detail.target;
    if (target && target.id === "dialog-body") {
      var info = event.detail.pathInfo;
      if (info) location.href = (info.finalRequestPath || info.requestPath).replace("part=1", "");
      return;
    }
    offline.hidden = false;
  }
  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("htmx:responseError", failed);
  document.addEventListener("htmx:afterOnLoad", function () { offline.hidden = true; });

  // A page of an error that may pass tries again.
  var retry = document.querySelector("[data-retry]");
  if (retry) setTimeout(function () { location.reload(); }, retry.dataset.retry * 1000);

  // Relative times go on between updates.
  function rough(seconds) {
    if (seconds < 60) return seconds + " s";
    if (seconds < 3600) return Math.floor(seconds / 60) + " min";
    if (seconds < 172800) return Math.floor(seconds / 3600) + " h";
    return Math.floor(seconds / 86400) + " d";
  }
  setInterval(function () {
    if (document.hidden) return;
    document.querySelectorAll("time[datetime]").forEach(function (time) {
      var seconds = Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000);
      var text = seconds === 0 ? "now" : seconds > 0 ? rough(seconds) + " ago" : "in " + rough(-seconds);
      if (time.textContent !== text) time.textContent = text;
    });
  }, 5000);
})();
