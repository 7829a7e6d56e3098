// Keys, and pages that renew themselves. Everything works without this.
import { follow } from "./live.js";
import { listenToKeys } from "./keys.js";
import { renew } from "./renew.js";

const UNFINISHED_MS = 3000;
const SIGN_IN = "/portal/sign-in?reason=ended";

listenToKeys();

const live = follow(document.body.dataset.livePath, {
  onEvent: (type) => renew((element) => element.dataset.live.split(" ").includes(type)),
  onSignedOut: () => location.assign(SIGN_IN),
});

document.querySelector("[data-sign-out]")?.addEventListener("submit", () => live.announceSignOut());

// While a page shows something in progress, it asks for news: progress is not in the feed.
setInterval(() => {
  if (document.visibilityState === "visible" && document.querySelector("[data-unfinished]")) {
    renew((element) => element.matches("[data-unfinished]") || element.querySelector("[data-unfinished]") !== null);
  }
}, UNFINISHED_MS);
