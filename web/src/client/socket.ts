/** What the clients need of a WebSocket; tests and other runtimes may bring their own class. */
export interface SocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string | ArrayBufferView): void;
  close(code?: number, reason?: string): void;
}

export type SocketClass = new (url: string) => SocketLike;

export const OPEN = 1;

/** The browser's own class. */
export function browserSocket(): SocketClass {
  return WebSocket as unknown as SocketClass;
}

/** `path` below `base` (an http or ws URL, the page's origin if absent) as a WebSocket URL. */
export function socketUrl(
  base: string | undefined,
  path: string,
  query: Record<string, string | undefined>,
): string {
  const url = new URL(path, base ?? globalThis.location?.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  url.search = "";
  for (const [key, value] of Object.entries(query)) {
    if (value) url.searchParams.set(key, value);
  }
  return url.href;
}

/** One JSON object, or undefined: frames that are none are ignored (G301). */
export function parseObject(data: unknown): Record<string, unknown> | undefined {
  if (typeof data !== "string") return undefined;
  try {
    const value: unknown = JSON.parse(data);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
