// Serves a Connect implementation over grpc-js: the same services, admission and guard as behind the HTTP door. Messages stay
// bytes until their call is admitted.
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import {
  createHandlerContext,
  createServiceImplSpec,
  type HandlerContext,
  type MethodImplSpec,
  type ServiceImpl,
} from '@connectrpc/connect';
import type { sendUnaryData, Server, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { LIMITS } from '../../core/limits.ts';
import { invalidFields, RefusedError } from '../../core/refusal.ts';
import { requestTooLarge } from '../access.ts';
import { isTooDeep, READ_OPTIONS, TOO_DEEP } from '../message-levels.ts';
import { cancelledError } from '../call-error.ts';
import type { CallPolicy } from '../call-policy.ts';
import { headersOf } from './grpc-metadata.ts';
import { grpcStatus } from './grpc-status.ts';

type Message = MessageInitShape<DescMessage>;
type UnaryCall = ServerUnaryCall<Buffer, Message>;
type StreamCall = ServerWritableStream<Buffer, Message>;
type SpecOf<Kind extends MethodImplSpec['kind']> = Extract<MethodImplSpec, { kind: Kind }>;

/** The longest delay that a timer can count: a call with a later deadline has none. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Registers the unary and server streaming methods of a service; others need a handler of their own. */
export function registerService<S extends DescService>(
  server: Server,
  service: S,
  implementation: ServiceImpl<S>,
  policy: CallPolicy,
): void {
  for (const spec of Object.values(createServiceImplSpec(service, implementation).methods)) {
    const path = `/${service.typeName}/${spec.method.name}`;
    const serialize = (message: Message): Buffer => encode(spec.method.output, message);
    switch (spec.kind) {
      case 'unary':
        server.register(path, unaryHandler(spec, policy), serialize, asBytes, 'unary');
        break;
      case 'server_streaming':
        server.register(path, streamHandler(spec, policy), serialize, asBytes, 'serverStream');
        break;
      case 'client_streaming':
      case 'bidi_streaming':
        break;
    }
  }
}

/** How grpc-js shall take a message apart or put it together when a handler deals in bytes. */
export function asBytes(bytes: Buffer): Buffer {
  return bytes;
}

function unaryHandler({ method, impl }: SpecOf<'unary'>, { admit, guard, explain }: CallPolicy) {
  async function answer(call: UnaryCall): Promise<Message> {
    const context = openContext(method, call);
    try {
      await admit(context);
      const message = decode(method.input, call.request);
      const invoke = guard(async (request) => {
        if (request.stream) throw new Error(`${method.name} takes one message`);
        const answered = await impl(request.message, { ...context, signal: request.signal });
        return { ...responseOf(context), stream: false, method, message: create(method.output, answered) };
      });
      const response = await invoke({ ...requestOf(context), stream: false, method, message });
      if (response.stream) throw new Error(`${method.name} answers one message`);
      return response.message;
    } finally {
      context.abort();
    }
  }

  return (call: UnaryCall, callback: sendUnaryData<Message>): void => {
    answer(call).then(
      (message) => callback(null, message),
      (error: unknown) => callback(grpcStatus(explain(error))),
    );
  };
}

function streamHandler({ method, impl }: SpecOf<'server_streaming'>, { admit, guard, explain }: CallPolicy) {
  async function answer(call: StreamCall): Promise<void> {
    const context = openContext(method, call);
    try {
      await admit(context);
      const message = decode(method.input, call.request);
      const invoke = guard(async (request) => {
        if (!request.stream) throw new Error(`${method.name} answers a stream`);
        const messages = impl(message, { ...context, signal: request.signal });
        return { ...responseOf(context), stream: true, method, message: created(method.output, messages) };
      });
      const response = await invoke({ ...requestOf(context), stream: true, method, message: oneMessage(message) });
      if (!response.stream) throw new Error(`${method.name} answers a stream`);
      for await (const part of response.message) {
        await send(call, part, context.signal);
      }
      call.end();
    } finally {
      context.abort();
    }
  }

  return (call: StreamCall): void => {
    // This is how grpc-js wants to be told a status; it does not destroy the stream.
    answer(call).catch((error: unknown) => call.emit('error', grpcStatus(explain(error))));
  };
}

function openContext(method: DescMethod, call: UnaryCall | StreamCall) {
  const gone = new AbortController();
  // Also comes when the call has ended as it should: nobody listens any more then.
  call.on('cancelled', () => gone.abort(cancelledError()));
  const leftMs = Number(call.getDeadline()) - Date.now();
  return createHandlerContext({
    service: method.parent,
    method,
    protocolName: 'grpc',
    requestMethod: 'POST',
    url: `https://${call.getHost()}${call.getPath()}`,
    ...(leftMs <= MAX_TIMER_MS && { timeoutMs: leftMs }),
    requestSignal: gone.signal,
    requestHeader: headersOf(call.metadata),
  });
}

function requestOf({ service, requestMethod, url, signal, requestHeader, values }: HandlerContext) {
  return { service, requestMethod, url, signal, header: requestHeader, contextValues: values };
}

function responseOf({ service, responseHeader, responseTrailer }: HandlerContext) {
  return { service, header: responseHeader, trailer: responseTrailer };
}

function decode<Desc extends DescMessage>(schema: Desc, bytes: Buffer): MessageShape<Desc> {
  if (bytes.length > LIMITS.requestBytes) throw new RefusedError(requestTooLarge(bytes.length));
  try {
    return fromBinary(schema, bytes, READ_OPTIONS);
  } catch (error) {
    const description = isTooDeep(error)
      ? TOO_DEEP
      : `is no ${schema.typeName}: ${error instanceof Error ? error.message : String(error)}`;
    throw new RefusedError(invalidFields([{ field: 'request', description }]));
  }
}

function encode(schema: DescMessage, message: Message): Buffer {
  const { buffer, byteOffset, byteLength } = toBinary(schema, create(schema, message));
  return Buffer.from(buffer, byteOffset, byteLength);
}

async function* created(schema: DescMessage, messages: AsyncIterable<Message>) {
  for await (const message of messages) yield create(schema, message);
}

async function* oneMessage<T>(message: T) {
  yield message;
}

/**
 * Resolves when the transport has taken a message, and rejects when the call is over: the stream alone would keep 16 of them, of any
 * size, for a reader that does not read.
 */
async function send(call: StreamCall, part: Message, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  else call.write(part, () => resolve());
  try {
    await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
