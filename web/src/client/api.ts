export interface EngineInfo {
  name: string;
  available: boolean;
  note: string;
  languages: string[];
}

/** `agent` and the rest are absent while `auth` is `required`. */
export interface Info {
  name: string;
  version: string;
  auth: "none" | "required" | "ok";
  agent?: { name: string; description: string; suggestions: string[] };
  /** `webrtc` among them, if the server says whether it takes calls that way. */
  engines?: Record<string, EngineInfo>;
  limits?: { maxCalls: number };
}

export interface Health {
  status: string;
  calls: number;
  max_calls: number;
}

export interface Recording {
  id: string;
  started_at: string;
  duration_ms: number;
  bytes: number;
}

/** An answer other than 2xx. `status` 0: no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

const TIMEOUT = 10_000;

/** Without ICE servers a call still connects where no relay is needed: not worth a long wait. */
const ICE_TIMEOUT = 1_000;

/** One bad entry would make `RTCPeerConnection` refuse them all. */
function usable(server: unknown): server is RTCIceServer {
  const urls = (server as Partial<RTCIceServer> | null)?.urls;
  const all = Array.isArray(urls) ? urls : [urls];
  return all.length > 0 && all.every((url) => /^(stun|turn)s?:/.test(String(url)));
}

/** The HTTP side of Salon. */
export class SalonApi {
  constructor(private readonly base = "") {}

  info(): Promise<Info> {
    return this.#get("/api/info");
  }

  /** Exchange the API key for a cookie. */
  async login(key: string): Promise<void> {
    await this.#ask("/api/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key }),
    });
  }

  /** `status` may be other than "ok" while the server starts or ends. */
  async health(): Promise<Health> {
    const response = await this.#fetch("/health");
    return (await response.json()) as Health;
  }

  /** Make a room with the agent in it; returns its id. */
  async createRoom(): Promise<string> {
    const response = await this.#ask("/rooms", { method: "POST" });
    return ((await response.json()) as { id: string }).id;
  }

  /** False if there is no such room. */
  async hasRoom(room: string): Promise<boolean> {
    const response = await this.#fetch(this.#roomPath(room));
    return response.status !== 404;
  }

  /** The ICE servers a browser should use; none if the server does not say so in time. */
  async iceServers(timeout = ICE_TIMEOUT): Promise<RTCIceServer[]> {
    try {
      const response = await this.#fetch("/iceservers", {}, timeout);
      const servers: unknown = response.ok ? await response.json() : [];
      return Array.isArray(servers) ? servers.filter(usable) : [];
    } catch {
      return [];
    }
  }

  recordings(room: string): Promise<Recording[]> {
    return this.#get(`${this.#roomPath(room)}/recordings`);
  }

  transcriptUrl(room: string): string {
    return `${this.base}${this.#roomPath(room)}/transcript`;
  }

  recordingUrl(room: string, recording: string): string {
    return `${this.base}${this.#roomPath(room)}/recordings/${encodeURIComponent(recording)}.wav`;
  }

  #roomPath(room: string): string {
    return `/rooms/${encodeURIComponent(room)}`;
  }

  async #get<T>(path: string): Promise<T> {
    return (await (await this.#ask(path)).json()) as T;
  }

  async #ask(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await this.#fetch(path, init);
    if (!response.ok) throw new ApiError(response.status, await detail(response));
    return response;
  }

  async #fetch(path: string, init: RequestInit = {}, timeout = TIMEOUT): Promise<Response> {
    try {
      return await fetch(this.base + path, { ...init, signal: AbortSignal.timeout(timeout) });
    } catch {
      throw new ApiError(0, "the server cannot be reached");
    }
  }
}

async function detail(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { detail?: unknown };
    return typeof body.detail === "string" ? body.detail : response.statusText;
  } catch {
    return response.statusText;
  }
}
