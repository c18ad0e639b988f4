import { Emitter } from "./emitter";
import { MICROPHONE_WORKLET } from "./worklets";

export interface MicrophoneEvents {
  /** 320 samples at 16 kHz, every 20 ms. */
  frame: Int16Array;
  /** Loudness of the last 20 ms, 0 to 1 on a scale of 60 dB. */
  level: number;
  /** The device went away. */
  ended: undefined;
}

export interface MicrophoneOptions {
  /** Any rate will do. Not closed by this class. */
  context: AudioContext;
  deviceId?: string;
  /** The built worklet; by default the file beside the library. */
  workletUrl?: string;
}

/**
 * Why there is no microphone. `insecure`: the page is neither https nor localhost; `unsupported`:
 * the browser has no AudioWorklet or no microphones; `blocked`: the user or a policy said no;
 * `missing`: there is none; `busy`: another program holds it.
 */
export type MicrophoneErrorCode =
  | "insecure"
  | "unsupported"
  | "blocked"
  | "missing"
  | "busy"
  | "failed";

export class MicrophoneError extends Error {
  constructor(
    readonly code: MicrophoneErrorCode,
    message: string,
  ) {
    super(message);
    this.name = "MicrophoneError";
  }
}

const CODES: Record<string, MicrophoneErrorCode> = {
  NotAllowedError: "blocked",
  SecurityError: "blocked",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** A microphone as 16 kHz frames, with echo cancellation. */
export class Microphone extends Emitter<MicrophoneEvents> {
  readonly #options: MicrophoneOptions;
  #stream: MediaStream | undefined;
  #source: MediaStreamAudioSourceNode | undefined;
  #node: AudioWorkletNode | undefined;
  #stopped = false;

  constructor(options: MicrophoneOptions) {
    super();
    this.#options = options;
  }

  /** The devices there are; their labels are empty until a microphone was allowed once. */
  static async devices(): Promise<MediaDeviceInfo[]> {
    const all = (await globalThis.navigator.mediaDevices?.enumerateDevices()) ?? [];
    return all.filter((device) => device.kind === "audioinput");
  }

  /** The id of the device in use. */
  get deviceId(): string | undefined {
    return this.#stream?.getAudioTracks()[0]?.getSettings().deviceId;
  }

  /** The sound itself, for WebRTC; owned by this class. */
  get track(): MediaStreamTrack | undefined {
    return this.#stream?.getAudioTracks()[0];
  }

  /** Ask for the microphone and begin. Throws `MicrophoneError`. */
  async start(): Promise<void> {
    const { context, deviceId, workletUrl = MICROPHONE_WORKLET } = this.#options;
    checkSupport();
    await context.audioWorklet.addModule(workletUrl);
    const stream = await openStream(deviceId);
    if (this.#stopped || context.state === "closed") {
      stopTracks(stream);
      return;
    }
    this.#stream = stream;
    for (const track of stream.getAudioTracks()) {
      track.onended = () => this.emit("ended", undefined);
    }
    this.#source = context.createMediaStreamSource(stream);
    this.#node = new AudioWorkletNode(context, "salon-microphone", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    this.#node.port.onmessage = ({ data }: MessageEvent<{ frame: ArrayBuffer; level: number }>) => {
      this.emit("level", data.level);
      this.emit("frame", new Int16Array(data.frame));
    };
    this.#source.connect(this.#node);
  }

  /** Switch the device's sound off or on; its light may go out meanwhile. */
  setMuted(muted: boolean): void {
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  /** Let the device go; idempotent. */
  stop(): void {
    this.#stopped = true;
    this.#source?.disconnect();
    if (this.#node) this.#node.port.onmessage = null;
    if (this.#stream) stopTracks(this.#stream);
    this.#stream = this.#source = this.#node = undefined;
  }
}

function checkSupport(): void {
  if (!globalThis.isSecureContext) {
    throw new MicrophoneError("insecure", "microphones need https, or localhost");
  }
  if (!globalThis.navigator.mediaDevices || !("AudioWorkletNode" in globalThis)) {
    throw new MicrophoneError("unsupported", "this browser has no microphone for pages");
  }
}

async function openStream(deviceId: string | undefined): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
        channelCount: 1,
        ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
      },
    });
  } catch (error) {
    const { name, message } = error as DOMException;
    // The chosen device may have been unplugged since: any other is better than none.
    if (deviceId && CODES[name] === "missing") return openStream(undefined);
    throw new MicrophoneError(CODES[name] ?? "failed", message);
  }
}

function stopTracks(stream: MediaStream): void {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
}
