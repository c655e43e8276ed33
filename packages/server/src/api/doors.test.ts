// The doors themselves: addresses, TLS, health, reflection, CORS, limits, and how they close.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect as connectHttp2 } from 'node:http2';
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { Client, credentials, loadPackageDefinition, Metadata, status as grpcCode } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ServerService } from '@conveyor/protocol/conveyor/v1/server_service_pb.js';
import { service as healthService } from 'grpc-health-check';
import type { DoorOptions } from './door.ts';
import { openTestDoors, type TestDoors } from './testing/test-doors.ts';
import { createTestEngine, OPERATOR_TOKEN, RUN_ID } from './testing/test-engine.ts';
