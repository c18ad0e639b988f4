/**
 * The JavaScript client of Salon: rooms, calls, microphone and speaker. It touches no part of the
 * page.
 */
export * from "./api";
export * from "./backoff";
export * from "./call";
export * from "./emitter";
export * from "./line";
export * from "./microphone";
export * from "./network";
export * from "./protocol";
export * from "./remote-sound";
export * from "./room";
export * from "./rtc-audio";
export * from "./rtc-call";
export * from "./rtc-stats";
export * from "./speaker";
export * from "./timeline";
export type { SocketClass, SocketLike } from "./socket";
