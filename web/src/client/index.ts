/**
 * The JavaScript client of Salon: rooms, calls, microphone and speaker. It touches no part of the
 * page.
 */
export * from "./api";
export * from "./backoff";
export * from "./call";
export * from "./emitter";
export * from "./microphone";
export * from "./protocol";
export * from "./room";
export * from "./speaker";
export * from "./timeline";
export type { SocketClass, SocketLike } from "./socket";
