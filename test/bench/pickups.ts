// Owns the meeting of a run that was picked up and of the question when that was, whichever comes first.

export interface Pickups<Times> {
  add(runId: string, times: Times): void;
  of(runId: string): Promise<Times>;
}

export function createPickups<Times>(): Pickups<Times> {
  const meetings = new Map<string, PromiseWithResolvers<Times>>();
  const meeting = (runId: string): PromiseWithResolvers<Times> => {
    const found = meetings.get(runId) ?? Promise.withResolvers<Times>();
    meetings.set(runId, found);
    return found;
  };
  return {
    add: (runId, times) => meeting(runId).resolve(times),
    async of(runId) {
      const times = await meeting(runId).promise;
      meetings.delete(runId);
      return times;
    },
  };
}
