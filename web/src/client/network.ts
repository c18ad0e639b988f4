/** What of the browser tells that the network is another one. */
interface Connection extends EventTarget {
  readonly type?: string;
}

/** Call `changed` when the network may be another one; the returned function stops that. */
export function watchNetwork(changed: () => void): () => void {
  const scope: Partial<EventTarget> = globalThis;
  const connection = (globalThis.navigator as { connection?: Connection } | undefined)?.connection;
  let type = connection?.type;
  // It also tells of every new estimate of the speed, which is none of our business.
  const onConnection = () => {
    if (connection?.type === type) return;
    type = connection?.type;
    if (type !== "none") changed();
  };
  scope.addEventListener?.("online", changed);
  connection?.addEventListener?.("change", onConnection);
  return () => {
    scope.removeEventListener?.("online", changed);
    connection?.removeEventListener?.("change", onConnection);
  };
}

/** Wait until the browser says that there is a network, at most `most` ms. */
export function untilOnline(most: number): Promise<void> {
  if (globalThis.navigator?.onLine !== false) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      globalThis.removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, most);
    globalThis.addEventListener("online", done);
  });
}
