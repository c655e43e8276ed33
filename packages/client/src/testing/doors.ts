// Owns clients of a scripted server, one for each door, so that a behaviour can be shown on both.
import { type Client, type ClientPolicy, createClient } from '../client.ts';
import { createNodeClient } from '../node.ts';
import type { ScriptedServer } from './scripted-server.ts';

/** The doors by name. */
export const doors = ['native gRPC', 'HTTP'] as const;

/** A client through one door. */
export function clientThrough(door: (typeof doors)[number], server: ScriptedServer, policy: ClientPolicy = {}): Client {
  return door === 'HTTP'
    ? createClient({ ...policy, address: server.httpAddress })
    : createNodeClient({ ...policy, address: server.grpcAddress, env: {} });
}
