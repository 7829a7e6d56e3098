// This page is shown only where nobody is signed in: other tabs learn of it.
import { CHANNEL } from "./live.js";

if (new URLSearchParams(location.search).has("reason")) {
  new BroadcastChannel(CHANNEL).postMessage({ type: "signed-out" });
}
