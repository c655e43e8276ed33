// The public face of the control plane as a library.
export {
  type Conveyor,
  type ConveyorOptions,
  type DatabaseOptions,
  type DoorSettings,
  startConveyor,
} from './app.ts';
export { type Authenticate, DoorError, type DoorReason } from './api/api.ts';
export type { Timing } from './core/limits.ts';
export type { Retention } from './core/retention.ts';
export type { Principal } from './engine/engine.ts';
export type { ResolveSecrets, SecretRequest } from './engine/offers.ts';
export { DatabaseStartError, type DatabaseStartReason } from './store/start-error.ts';
export { VERSION } from './version.ts';
