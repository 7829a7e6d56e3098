// Keys, and pages that renew themselves. Everything works without this.
import { offerCopies } from "./copy.js";
import { follow } from "./live.js";
import { listenToKeys } from "./keys.js";
import { renew } from "./renew.js";

const UNFINISHED_MS = 3000;
const SIGN_IN = "/portal/sign-in?reason=ended";

listenToKeys();
offerCopies();

// The tab that signs out is led on by its form.
let isLeaving = false;
document.querySelector('form[action="/portal/sign-out"]')?.addEventListener("submit", () => (isLeaving = true));

follow(document.body.dataset.livePath, {
  onEvent: (type) => renew((element) => type === "*" || element.dataset.live.split(" ").includes(type)),
  onSignedOut: () => isLeaving || location.assign(SIGN_IN),
});

// While a page shows something in progress, it asks for news: progress is not in the feed.
setInterval(() => {
  if (document.visibilityState === "visible" && document.querySelector("[data-unfinished]")) {
    renew((element) => element.matches("[data-unfinished]") || element.querySelector("[data-unfinished]") !== null);
  }
}, UNFINISHED_MS);
