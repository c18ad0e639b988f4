import { Backoff } from "./backoff";
import { Emitter } from "./emitter";
import type {
  Caption,
  Hello,
  History,
  RoomError,
  RoomEvent,
  StreamChunk,
  StreamedText,
  StreamEnd,
  StreamError,
  StreamStart,
} from "./protocol";
import { browserSocket, OPEN, parseObject, socketUrl } from "./socket";
import type { SocketClass, SocketLike } from "./socket";
import { Streams } from "./streams";

/** `waiting`: the connection is gone and the next attempt comes after a pause. */
export type RoomState = "connecting" | "open" | "waiting" | "closed";

export interface RoomStateChange {
  state: RoomState;
  /** How many attempts failed in a row. */
  attempt: number;
  /** Ms until the next attempt, in state `waiting`. */
  delay: number;
}

export interface RoomClientEvents {
  state: RoomStateChange;
  hello: Hello;
  history: History;
  event: RoomEvent;
  streamStart: StreamStart;
  streamChunk: StreamedText;
  streamEnd: StreamEnd;
  streamError: StreamError;
  caption: Caption;
  error: RoomError;
}

export interface RoomClientOptions {
  room: string;
  participant: string;
  name?: string;
  /** Where Salon runs; the page's own origin if absent. */
  url?: string;
  WebSocket?: SocketClass;
  backoff?: Backoff;
}

/** Messages that may wait for a confirmation at once. */
export const MAX_PENDING = 50;

const EVENTS: Record<string, keyof RoomClientEvents> = {
  hello: "hello",
  history: "history",
  event: "event",
  stream_start: "streamStart",
  stream_chunk: "streamChunk",
  stream_end: "streamEnd",
  stream_error: "streamError",
  caption: "caption",
  error: "error",
};

/**
 * The text side of a room. It reconnects by itself, and then sends again what was not confirmed;
 * the idempotency key keeps the server from taking it twice.
 */
export class RoomClient extends Emitter<RoomClientEvents> {
  readonly room: string;
  readonly participant: string;
  readonly #options: RoomClientOptions;
  readonly #socketClass: SocketClass;
  readonly #backoff: Backoff;
  readonly #pending = new Map<string, string>();
  readonly #streams = new Streams();
  #name: string | undefined;
  #socket: SocketLike | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #state: RoomState = "closed";

  constructor(options: RoomClientOptions) {
    super();
    this.#options = options;
    this.room = options.room;
    this.participant = options.participant;
    this.#name = options.name;
    this.#socketClass = options.WebSocket ?? browserSocket();
    this.#backoff = options.backoff ?? new Backoff();
  }

  get state(): RoomState {
    return this.#state;
  }

  /** Messages not yet confirmed, oldest first. */
  get pending(): string[] {
    return [...this.#pending.values()];
  }

  /** Connect now, without waiting for the pause to end; nothing if connected already. */
  connect(): void {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#change("connecting");
    const url = socketUrl(this.#options.url, `/ws/${encodeURIComponent(this.room)}`, {
      participant: this.participant,
      name: this.#name,
    });
    const socket = new this.#socketClass(url);
    this.#socket = socket;
    this.#streams.clear();
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = () => this.#lost(socket);
  }

  /** Leave for good; `connect` enters again. */
  close(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket) {
      socket.onclose = socket.onmessage = socket.onopen = null;
      socket.close(1000);
    }
    this.#change("closed");
  }

  /**
   * The network changed: connect anew. A socket of the old network may look open for minutes
   * although nothing gets through.
   */
  networkChanged(): void {
    if (this.#state === "closed" || this.#state === "connecting") return;
    if (this.#state === "open") this.close();
    this.connect();
  }

  /** Be called `name` from now on. */
  rename(name: string): void {
    if (name === this.#name) return;
    this.#name = name;
    if (this.#state === "closed") return;
    this.close();
    this.connect();
  }

  /**
   * Say `text`; returns its idempotency key. Without a connection it is sent later. Throws
   * `RangeError` if `MAX_PENDING` messages wait already.
   */
  send(text: string, key: string = newId()): string {
    if (this.#pending.size >= MAX_PENDING) throw new RangeError("too many messages wait");
    this.#pending.set(key, text);
    if (this.#state === "open") this.#sendMessage(key, text);
    return key;
  }

  /** Ask for up to `limit` events before `beforeIndex`; they come as `history`. */
  requestHistory(beforeIndex: number, limit = 50): boolean {
    return this.#sendJson({ type: "history", before_index: beforeIndex, limit });
  }

  #opened(socket: SocketLike): void {
    if (socket !== this.#socket) return;
    this.#backoff.reset();
    this.#change("open");
    for (const [key, text] of this.#pending) this.#sendMessage(key, text);
  }

  #received(data: unknown): void {
    const message = parseObject(data);
    if (!message || typeof message.type !== "string") return;
    const name = EVENTS[message.type];
    if (!name) return;
    if (name === "event") {
      const event = message.event as RoomEvent;
      this.#confirm(event);
      this.emit("event", event);
      return;
    }
    if (name === "history") {
      for (const event of message.events as RoomEvent[]) this.#confirm(event);
    }
    if (name === "streamChunk") {
      this.emit(name, this.#streams.add(message as unknown as StreamChunk));
      return;
    }
    if (name === "streamStart") this.#streams.start(String(message.stream_id));
    if (name === "streamEnd" || name === "streamError") this.#streams.end(String(message.stream_id));
    this.emit(name, message as never);
  }

  #confirm(event: RoomEvent): void {
    const key = event.idempotency_key;
    if (typeof key === "string") {
      this.#pending.delete(key);
      return;
    }
    if (event.source.participant_id !== this.participant) return;
    for (const [key, text] of this.#pending) {
      if (text === event.content.body) {
        this.#pending.delete(key);
        return;
      }
    }
  }

  #lost(socket: SocketLike): void {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    const delay = this.#backoff.next();
    this.#timer = setTimeout(() => this.connect(), delay);
    this.#change("waiting", delay);
  }

  #sendMessage(key: string, text: string): void {
    this.#sendJson({ type: "message", text, idempotency_key: key });
  }

  #sendJson(message: object): boolean {
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #change(state: RoomState, delay = 0): void {
    this.#state = state;
    this.emit("state", { state, attempt: this.#backoff.attempt, delay });
  }
}

/** A random id; works in insecure contexts too, where `crypto.randomUUID` is missing. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
