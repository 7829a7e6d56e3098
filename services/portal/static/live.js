// One stream of events for all tabs of this browser: the tab that holds the lock has it, and tells the others.
export const CHANNEL = "portal-live";
// A page that is younger has been read after the stream was opened.
const FRESH_MS = 5000;
const LOCK = "portal-live";

export function follow(path, { onEvent, onSignedOut }) {
  const channel = new BroadcastChannel(CHANNEL);
  const receive = ({ type, id }) => {
    if (type === "signed-out") onSignedOut();
    else if (type === "event") onEvent(id);
  };
  channel.addEventListener("message", ({ data }) => receive(data));
  const tell = (message) => {
    channel.postMessage(message);
    receive(message);
  };
  if (path && "locks" in navigator && "EventSource" in window) {
    navigator.locks.request(LOCK, () => listen(path, tell));
  }
}

// Resolves when the stream has ended for good: another tab may then try.
function listen(path, tell) {
  return new Promise((resolve) => {
    const source = new EventSource(path);
    const types = ["job.finished", "codes.available", "order.completed", "invoice.issued", "endpoint.disabled", "endpoint.recovered"];
    // Who takes over, or was away for longer than the server remembers, does not know what it has missed.
    source.addEventListener("open", () => performance.now() > FRESH_MS && tell({ type: "event", id: "*" }));
    for (const type of types) {
      source.addEventListener(type, () => tell({ type: "event", id: type }));
    }
    source.addEventListener("signed-out", () => {
      source.close();
      tell({ type: "signed-out" });
      resolve();
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) resolve();
    });
  });
}
