import type { RoomEvent } from "../src/client/protocol";

export function roomEvent(index: number, changes: Partial<RoomEvent> = {}): RoomEvent {
  return {
    id: `e${index}`,
    room_id: "r",
    index,
    type: "message",
    source: { channel_id: "ai", channel_type: "ai", participant_id: null },
    content: { type: "text", body: `text ${index}` },
    metadata: {},
    created_at: "2026-01-05T08:00:00Z",
    status: "delivered",
    visibility: "all",
    ...changes,
  };
}
