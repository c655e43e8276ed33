// Owns a process that is a driver: its options from the environment, and its signals. The rest of the package has neither.
import { readFileSync } from 'node:fs';
import { constants, homedir } from 'node:os';
import { join } from 'node:path';
import type { DriverDefinition } from './define-driver.ts';
import type { StartOptions } from './instance.ts';
import type { Logger } from './logger.ts';

/**
 * Runs a driver as this process. Where to connect and as whom comes from the environment, unless `options` say:
 * CONVEYOR_ADDRESS, a comma separated list (default `127.0.0.1:7070`); CONVEYOR_TLS_CA, a PEM file with the certificates to trust
 * (default: those of the system); CONVEYOR_TOKEN, or else the file `driver.token` in CONVEYOR_DATA_DIR (default `~/.conveyor`), where
 * a control plane on the same machine leaves one; CONVEYOR_INSTANCE_ID (default: a new one). What happens is told on stderr, unless
 * there is another logger.
 *
 * SIGTERM and SIGINT drain it: it takes no more jobs and lets those that it has end; a second signal exits at once. Resolves
 * when it has left; when it cannot start or go on it says why on stderr and sets the exit code 1.
 */
export async function runDriver<Spec>(
  definition: DriverDefinition<Spec>,
  options: Partial<StartOptions> = {},
): Promise<void> {
  try {
    const {
      CONVEYOR_ADDRESS: addressList,
      CONVEYOR_TLS_CA: authorityFile = '',
      CONVEYOR_INSTANCE_ID: instanceId,
      CONVEYOR_TOKEN: token,
      CONVEYOR_DATA_DIR: dataDir = join(homedir(), '.conveyor'),
    } = process.env;
    const driver = definition.start({
      ...(addressList === undefined ? {} : { addresses: splitAddresses(addressList) }),
      ...(authorityFile === '' ? {} : { tls: { rootCertificates: readCertificates(authorityFile) } }),
      ...(instanceId === undefined ? {} : { instanceId }),
      logger: stderrLogger(definition.name),
      ...options,
      token: options.token ?? token ?? readToken(dataDir),
    });
    let signalled = false;
    const onSignal = (signal: 'SIGTERM' | 'SIGINT'): void => {
      if (signalled) process.exit(128 + constants.signals[signal]);
      signalled = true;
      // Its end is that of `finished`, which is awaited below.
      driver.drain().catch(() => {});
    };
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
    try {
      await driver.finished;
    } finally {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
    }
  } catch (error) {
    console.error(`${definition.name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

function splitAddresses(list: string): string[] {
  return list
    .split(',')
    .map((address) => address.trim())
    .filter((address) => address !== '');
}

function readCertificates(path: string): Buffer {
  const problem = `CONVEYOR_TLS_CA: cannot read certificates from ${path}: name a PEM file with the authorities to trust`;
  try {
    const pem = readFileSync(path);
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
  } catch (cause) {
    throw new Error(problem, { cause });
  }
  throw new Error(problem);
}

function readToken(dataDir: string): string {
  const path = join(dataDir, 'driver.token');
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw new Error(`no driver token: set CONVEYOR_TOKEN, or CONVEYOR_DATA_DIR to where ${path} should be`, { cause });
  }
}

function stderrLogger(name: string): Logger {
  const write =
    (level: string) =>
    (fields: object, message: string): void => {
      const details = Object.entries(fields)
        .map(([key, value]) => ` ${key}=${value instanceof Error ? value.stack : JSON.stringify(value)}`)
        .join('');
      console.error(`${new Date().toISOString()} ${level} ${name}: ${message}${details}`);
    };
  return { info: write('info'), warn: write('warn') };
}
