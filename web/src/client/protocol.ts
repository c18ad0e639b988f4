/** What travels on the two sockets. Unknown fields and events are to be ignored. */

// -- room socket ----------------------------------------------------------------------------------

export interface EventSource {
  channel_id: string;
  channel_type: string;
  participant_id?: string | null;
}

/** One numbered event of a room. `index` is gapless within the room. */
export interface RoomEvent {
  id: string;
  room_id: string;
  index: number;
  type: string;
  source: EventSource;
  content: { type: string; body?: string; code?: string | null };
  metadata: Record<string, unknown>;
  created_at: string;
  status?: string;
  visibility?: string;
  idempotency_key?: string | null;
}

export interface Hello {
  room_id: string;
  participant_id: string;
  version: string;
}

/** Events in ascending order; `has_more` if older ones exist. */
export interface History {
  events: RoomEvent[];
  has_more: boolean;
}

/** An answer that is being produced. `source.name` is what its author is called. */
export interface StreamStart {
  stream_id: string;
  source: EventSource & { name?: string | null };
}

/** `delta` is what is new; `at` says how many characters (code points) came before it. */
export interface StreamChunk {
  stream_id: string;
  at: number;
  delta: string;
}

/** A piece, and `text`: everything received of the answer so far. */
export interface StreamedText extends StreamChunk {
  text: string;
  /** Something before this piece was not received; the stored event will have it. */
  gap: boolean;
}

export interface StreamEnd {
  stream_id: string;
  event: RoomEvent | null;
}

export interface StreamError {
  stream_id: string;
  error: string;
}

/** Words of somebody who is speaking; each replaces the last, `final` ends it. */
export interface Caption {
  participant_id: string;
  name?: string | null;
  text: string;
  final: boolean;
}

export interface RoomError {
  code: string;
  message: string;
}

// -- call socket ----------------------------------------------------------------------------------

/** Times are ms since the epoch, durations ms. */
export interface CallEvent {
  event: string;
  trackId?: string;
  timestamp?: number;
}

export interface Answer extends CallEvent {
  /** Empty unless the sound goes over WebRTC. */
  sdp?: string;
}

export interface Dtmf extends CallEvent {
  digit: string;
}

export interface Speaking extends CallEvent {
  startTime: number;
}

export interface Silence extends CallEvent {
  startTime: number;
  duration: number;
}

export interface Transcript extends CallEvent {
  index: number;
  startTime?: number;
  endTime?: number;
  text: string;
}

export interface TrackStart extends CallEvent {
  playId?: string;
}

export interface TrackEnd extends CallEvent {
  duration: number;
  ssrc: number;
  playId?: string;
}

export interface Interruption extends CallEvent {
  playId?: string;
  subtitle?: string;
  position?: number;
  totalDuration: number;
  current: number;
}

export interface Metrics extends CallEvent {
  key: string;
  duration: number;
  data?: unknown;
}

export interface Hangup extends CallEvent {
  reason?: string;
  initiator?: string;
}

export interface CallFailure extends CallEvent {
  sender: string;
  error: string;
  code?: number;
}

/**
 * One turn's delays in ms after the true end of speech: the words were known, the agent's first word
 * came, the voice's first sound, and the first frame was on its way.
 */
export interface TurnLatency {
  turn: number;
  text: string;
  total: number;
  recognised: number;
  firstWord: number;
  firstSound: number;
  firstAudio: number;
}

/** The delays in a `metrics` event, or undefined if it is another metric. */
export function turnLatency(event: Metrics): TurnLatency | undefined {
  if (event.key !== "turn.latency" || typeof event.data !== "object" || !event.data) {
    return undefined;
  }
  const data = event.data as Record<string, unknown>;
  const total = Math.max(0, Number(event.duration) || 0);
  // Speech is at times recognised before its end is certain: no stage lies before zero, and none
  // before the stage it follows.
  const stage = (key: string, from: number, missing: number) => {
    const value = data[key];
    return Math.max(from, typeof value === "number" ? value : missing);
  };
  const recognised = stage("recognised", 0, 0);
  const firstWord = stage("firstWord", recognised, recognised);
  const sent = stage("firstAudio", firstWord, total);
  const firstSound = stage("firstSound", firstWord, sent);
  const firstAudio = Math.max(firstSound, sent);
  return {
    turn: Number(data.turn) || 0,
    text: typeof data.text === "string" ? data.text : "",
    total,
    recognised,
    firstWord,
    firstSound,
    firstAudio,
  };
}
