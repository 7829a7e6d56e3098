// `/` searches, `?` shows the keys, `g` and a letter goes to a section.
const SECTIONS = { h: "/portal/", i: "/portal/jobs", f: "/portal/files", e: "/portal/events", d: "/portal/developers", a: "/portal/operator", u: "/portal/users", r: "/portal/reports", c: "/portal/codes" };
const SEQUENCE_MS = 1200;

export function listenToKeys() {
  let startedAt = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const isSecond = Date.now() - startedAt < SEQUENCE_MS;
    startedAt = 0;
    if (event.key === "g" && !isSecond) {
      startedAt = Date.now();
    } else if (isSecond && SECTIONS[event.key]) {
      location.assign(SECTIONS[event.key]);
    } else if (event.key === "?") {
      document.getElementById("keys")?.showModal();
    } else if (event.key === "/") {
      const field = document.querySelector("[data-search]");
      if (field) {
        event.preventDefault();
        field.focus();
        field.select();
      }
    } else {
      document.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
    }
  });
}

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(input|select|textarea)$/i.test(target.tagName));
}
