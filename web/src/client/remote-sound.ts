import { Emitter } from "./emitter";
import { MICROPHONE_WORKLET } from "./worklets";

export interface RemoteSoundEvents {
  /** What is heard, 320 samples at 16 kHz, while somebody speaks. */
  frame: Int16Array;
  playing: boolean;
}

export interface RemoteSoundOptions {
  /** Any rate will do. Not closed by this class. */
  context: AudioContext;
  stream: MediaStream;
  /** The built worklet; by default the file beside the library. */
  workletUrl?: string;
}

/** -48 dBFS on the scale of the level: louder is speech, softer the hiss of a codec. */
const LOUD = 0.2;
/** Pauses between words are no end of speech. In frames of 20 ms. */
const HANGOVER = 20;
/** After a flush, sound is let through again once so many frames were silent, */
const GAP = 10;
/** or after so many in all, which is what a jitter buffer may hold: what comes then is new, and
 * may be somebody else's. */
const MOST_FLUSHED = 15;

/** Tells speech from silence, frame by frame. */
export class Activity {
  #quiet = HANGOVER;

  get playing(): boolean {
    return this.#quiet < HANGOVER;
  }

  push(level: number): void {
    this.#quiet = level > LOUD ? 0 : Math.min(HANGOVER, this.#quiet + 1);
  }

  reset(): void {
    this.#quiet = HANGOVER;
  }
}

/** Plays the stream of a WebRTC call, and tells when there is something to hear. */
export class RemoteSound extends Emitter<RemoteSoundEvents> {
  readonly #options: RemoteSoundOptions;
  readonly #activity = new Activity();
  readonly #element: HTMLAudioElement;
  #source: MediaStreamAudioSourceNode | undefined;
  #node: AudioWorkletNode | undefined;
  #flushed: { frames: number; quiet: number } | undefined;
  #stopped = false;

  constructor(options: RemoteSoundOptions) {
    super();
    this.#options = options;
    // Played by an element and not by the context: some browsers cancel only its echo, and some
    // give the context nothing unless an element plays the stream too.
    this.#element = new Audio();
    this.#element.srcObject = options.stream;
  }

  async start(): Promise<void> {
    const { context, stream, workletUrl = MICROPHONE_WORKLET } = this.#options;
    const played = this.#element.play().then(
      () => true,
      () => false,
    );
    await context.audioWorklet.addModule(workletUrl);
    if (this.#stopped || context.state === "closed") return;
    this.#source = context.createMediaStreamSource(stream);
    this.#node = new AudioWorkletNode(context, "salon-microphone", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    this.#node.port.onmessage = ({ data }: MessageEvent<{ frame: ArrayBuffer; level: number }>) => {
      this.#heard(data.level, new Int16Array(data.frame));
    };
    this.#source.connect(this.#node);
    // The context was resumed inside the click, so it may sound where the element may not.
    if (!(await played)) this.#source?.connect(context.destination);
  }

  /** Fall silent at once, until what is on its way already has passed. */
  flush(): void {
    const { playing } = this.#activity;
    this.#element.muted = true;
    this.#flushed = { frames: 0, quiet: 0 };
    this.#activity.reset();
    if (playing) this.emit("playing", false);
  }

  /** Idempotent. */
  stop(): void {
    this.#stopped = true;
    this.#source?.disconnect();
    if (this.#node) this.#node.port.onmessage = null;
    this.#source = this.#node = undefined;
    this.#element.pause();
    this.#element.srcObject = null;
  }

  #heard(level: number, frame: Int16Array): void {
    if (this.#flushed) {
      this.#flushed.frames += 1;
      this.#flushed.quiet = level > LOUD ? 0 : this.#flushed.quiet + 1;
      if (this.#flushed.quiet < GAP && this.#flushed.frames < MOST_FLUSHED) return;
      this.#flushed = undefined;
      this.#element.muted = false;
      return;
    }
    const before = this.#activity.playing;
    this.#activity.push(level);
    const { playing } = this.#activity;
    if (playing !== before) this.emit("playing", playing);
    if (playing) this.emit("frame", frame);
  }
}
