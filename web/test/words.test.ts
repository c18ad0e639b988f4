import { afterEach, describe, expect, it, vi } from "vitest";
import { ApiError, SalonApi } from "../src/client/api";
import { CallError } from "../src/client/call";
import { MicrophoneError } from "../src/client/microphone";
import { diagnose, hangupInWords, inWords } from "../src/page/words";

/** A server that answers these paths. */
function serve(answers: Record<string, [number, unknown]>): void {
  vi.stubGlobal("fetch", async (path: string) => {
    const [status, body] = answers[path] ?? [404, { detail: "nothing here" }];
    return new Response(JSON.stringify(body), { status });
  });
}

const info: [number, unknown] = [200, { auth: "none" }];
const health = (calls: number, status = "ok"): [number, unknown] => [
  200,
  { status, calls, max_calls: 2 },
];

afterEach(() => vi.unstubAllGlobals());

describe("diagnose", () => {
  it("knows a full server", async () => {
    serve({ "/api/info": info, "/health": health(2), "/rooms/r": [200, {}] });
    expect((await diagnose(new SalonApi(), "r", true)).words).toContain("All 2 lines are busy");
    expect((await diagnose(new SalonApi(), "r", false)).words).not.toContain("busy");
  });

  it("knows a missing login, a missing room, a closing server, no server", async () => {
    serve({ "/api/info": [200, { auth: "required" }] });
    expect((await diagnose(new SalonApi(), "r", true)).trouble).toBe("login");
    serve({ "/api/info": info, "/health": health(0) });
    expect((await diagnose(new SalonApi(), "r", true)).trouble).toBe("room");
    serve({ "/api/info": info, "/health": health(0, "draining") });
    expect((await diagnose(new SalonApi(), "r", true)).words).toContain("starting or closing");
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("failed")));
    expect((await diagnose(new SalonApi(), "r", true)).words).toContain("cannot be reached");
  });
});

describe("SalonApi", () => {
  it("tells what the server said of a refused request", async () => {
    serve({ "/api/login": [401, { detail: "this is not the API key" }] });
    await expect(new SalonApi().login("x")).rejects.toEqual(
      new ApiError(401, "this is not the API key"),
    );
  });

  it("escapes ids in addresses", () => {
    const api = new SalonApi("http://h");
    expect(api.transcriptUrl("a/b?")).toBe("http://h/rooms/a%2Fb%3F/transcript");
    expect(api.recordingUrl("r", "x y")).toBe("http://h/rooms/r/recordings/x%20y.wav");
  });
});

describe("words", () => {
  it("exist for what may go wrong", () => {
    expect(inWords(new MicrophoneError("blocked", "x"))).toContain("Allow it");
    expect(inWords(new MicrophoneError("insecure", "x"))).toContain("https");
    expect(inWords(new MicrophoneError("missing", "x"))).toContain("No microphone");
    expect(inWords(new MicrophoneError("failed", "odd"))).toContain("(odd)");
    expect(inWords(new CallError("rejected", "no room"))).toContain("no room");
    expect(inWords(new CallError("timeout", ""))).toContain("did not answer");
    expect(inWords("odd")).toBe("odd");
    expect(hangupInWords("caller")).toBe("");
    expect(hangupInWords("autohangup")).toContain("agent ended");
    expect(hangupInWords("moon")).toContain("moon");
  });
});
