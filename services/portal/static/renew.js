// Fetches the page again and replaces the parts that have changed. XMLHttpRequest parses documents without running them.
const BACKGROUND = "X-Portal-Background";
let isRunning = false;
let isWanted = false;

export function renew(matches) {
  const wanted = [...document.querySelectorAll("[data-live][id]")].filter(matches);
  if (wanted.length === 0) return;
  if (isRunning) {
    isWanted = true;
    return;
  }
  isRunning = true;
  const request = new XMLHttpRequest();
  request.responseType = "document";
  request.open("GET", location.pathname + location.search);
  request.setRequestHeader(BACKGROUND, "1");
  request.addEventListener("loadend", () => {
    isRunning = false;
    if (request.status === 401) location.assign("/portal/sign-in?reason=ended");
    else if (request.status === 200 && request.response) wanted.forEach((element) => replace(element, request.response));
    if (isWanted) {
      isWanted = false;
      setTimeout(() => renew(matches), 500);
    }
  });
  request.send();
}

function replace(element, fresh) {
  const other = fresh.getElementById(element.id);
  element.classList.remove("fresh");
  // Who is in the middle of it is not disturbed.
  if (!other || element.isEqualNode(other) || element.contains(document.activeElement)) return;
  const open = [...element.querySelectorAll("details")].map((each) => each.open);
  element.replaceWith(document.importNode(other, true));
  const placed = document.getElementById(element.id);
  placed.querySelectorAll("details").forEach((each, position) => (each.open = open[position] ?? false));
  placed.classList.add("fresh");
}
