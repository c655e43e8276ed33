"""A complete Conveyor driver for the tutorial's `builder` step: gRPC and generated stubs, no SDK.

An attempt lives in a directory of its own: its command writes the files `log` and `exit` there and this process only
follows them. So memory is bounded, bytes can be sent again from any offset, and a restarted driver takes over what a
killed one left: there is nothing to shut down. Frames are handled as they come; a ticker moves what time moves.
"""
import argparse, asyncio, fcntl, os, random, secrets, shutil, signal, subprocess, sys, time
from pathlib import Path

import grpc
from conveyor.v1 import driver_service_pb2_grpc, driver_session_pb2 as pb, job_pb2, pipeline_pb2

CHUNK, TICK_S, LONGEST_DELAY_S = 262_144, 0.02, 5
SPEC_SCHEMA = {"type": "object", "required": ["command"], "properties": {"command": {"type": "string"}}}
REFUSED = {grpc.StatusCode[name] for name in ("UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "ABORTED")}
CHANNEL = [("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000)]
CRC32C = list(range(256))
for _ in range(8):
    CRC32C = [crc >> 1 ^ (0x82F63B78 if crc & 1 else 0) for crc in CRC32C]


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Attempt:
    def __init__(self, offer, state_dir):
        self.offer, self.key = offer, {"attempt_id": offer.attempt_id, "fence": offer.fence}
        self.dir = state_dir / offer.attempt_id.replace("/", "_")
        self.phase, self.cancelled = pb.HELD_PHASE_ACCEPTED, False
        self.sent = self.window_end = self.summed = self.crc = 0

    def run(self, start):
        """Starts the command, whose processes all hold the lock on the file `alive` for as long as they live."""
        self.dir.mkdir(parents=True)
        (self.dir / "log").touch()
        with open(self.dir / "alive", "w") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
            script = '(cd "${2:?no workspace}" && eval "$3") >"$1/log" 2>&1; echo $? >"$1/exit.new"; mv "$1/exit.new" "$1/exit"'
            workspace = start.needs["container-start"].values["workspace"].string_value
            command = ["sh", "-c", script, "sh", self.dir, workspace, self.offer.spec["command"]]
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[alive.fileno()], start_new_session=True)
        (self.dir / "group").write_text(str(child.pid))

    def follow(self, log_offset, log_window):
        self.phase, self.sent, self.window_end = pb.HELD_PHASE_RUNNING, log_offset, log_offset + log_window

    def ended(self):
        with open(self.dir / "alive") as alive:
            try:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                return (self.dir / "exit").exists()

    def kill(self, signum):
        if (self.dir / "group").exists() and not self.ended():
            os.killpg(int((self.dir / "group").read_text()), signum)

    def step(self, send, max_log_bytes):
        """Sends what the log has grown by, as far as the window allows, and the result once all of it is sent."""
        ended = self.ended()
        with open(self.dir / "log", "rb") as log:
            written = os.fstat(log.fileno()).st_size
            size = min(written, max_log_bytes)
            if (upto := min(self.sent + CHUNK, size, self.window_end)) > self.sent:
                log.seek(self.sent)
                send(log={**self.key, "offset": self.sent, "data": log.read(upto - self.sent)})
                self.sent = upto
            log.seek(self.summed)
            data = log.read(min(CHUNK, size - self.summed))
            self.crc, self.summed = crc32c(data, self.crc), self.summed + len(data)
        if ended and self.window_end and self.sent == self.summed == size:
            send(finish={**self.key, **self.outcome(), "log_size": size, "log_crc32c": self.crc, "log_lost": size < written})
            self.phase = pb.HELD_PHASE_FINISHED

    def outcome(self):
        code = int((self.dir / "exit").read_text()) if (self.dir / "exit").exists() else None
        outcome = pb.FINISH_OUTCOME_FAILED if code != 0 else pb.FINISH_OUTCOME_SUCCEEDED
        failure_class = job_pb2.FAILURE_CLASS_DRIVER if code is None else job_pb2.FAILURE_CLASS_WORKLOAD
        return {"outcome": pb.FINISH_OUTCOME_CANCELLED if self.cancelled else outcome, "failure_class": failure_class, "exit_code": code}


class Driver:
    def __init__(self, options):
        self.options, self.incarnation, self.held = options, secrets.token_bytes(16), {}
        self.call, self.outbox, self.lease_until, self.delay = None, None, float("inf"), 0

    async def serve(self):
        await asyncio.gather(self.stay_connected(), self.tick())

    async def stay_connected(self):
        """Comes back with all that it holds, however a session ended."""
        while True:
            try:
                await self.session()
            except grpc.aio.AioRpcError as error:
                print(f"session ended: {error.code().name}: {error.details()}", file=sys.stderr, flush=True)
                if error.code() in REFUSED:
                    sys.exit(1)
            self.outbox, self.delay = None, min(self.delay * 2 + 0.1, LONGEST_DELAY_S)
            await asyncio.sleep(self.delay * random.uniform(0.5, 1))

    async def session(self):
        async with grpc.aio.insecure_channel(self.options.address, CHANNEL) as channel:
            outbox, self.beats = asyncio.Queue(), [time.monotonic()]
            outbox.put_nowait({"hello": {
                "protocol_version": 1, "driver": "builder", "instance_id": self.options.instance, "slots": self.options.slots,
                "incarnation": self.incarnation, "spec_schema": SPEC_SCHEMA,
                "held": [{**held.key, "phase": held.phase, "log_offset": held.sent} for held in self.held.values()]}})

            async def requests():
                while True:
                    yield pb.SessionRequest(frames=[pb.DriverFrame(**await outbox.get())])

            metadata = [("authorization", f"Bearer {self.options.token}")]
            self.call = driver_service_pb2_grpc.DriverServiceStub(channel).Session(requests(), metadata=metadata)
            async for message in self.call:
                self.outbox = outbox
                for frame in message.frames:
                    if kind := frame.WhichOneof("frame"):
                        self.handle(kind, getattr(frame, kind))

    def handle(self, kind, frame):
        attempt = self.held.get(getattr(frame, "attempt_id", None))
        if kind == "welcome":
            self.welcome(frame)
        elif kind == "pulse":
            self.lease_until = self.beats[frame.seq] + self.lease
        elif kind == "drain":
            self.call.cancel()
        elif kind == "offer":
            self.held[frame.attempt_id] = Attempt(frame, self.options.state_dir)
            self.send(accept=self.held[frame.attempt_id].key)
        elif attempt and kind == "start":
            if attempt.phase == pb.HELD_PHASE_ACCEPTED:
                attempt.run(frame)
            attempt.follow(frame.log_offset, self.log_window)
        elif attempt and kind == "log_ack":
            attempt.sent, attempt.window_end = frame.offset if frame.gap else attempt.sent, frame.window_end
        elif attempt and kind == "log_missing":
            attempt.follow(frame.offset, self.log_window)
        elif attempt and kind == "cancel" and frame.phase:
            attempt.cancelled = True
            attempt.kill(signal.SIGKILL if frame.phase == pb.CANCEL_PHASE_KILL else signal.SIGTERM)
        elif attempt and kind in ("finish_ack", "revoke"):
            del self.held[frame.attempt_id]
            attempt.kill(signal.SIGKILL)
            shutil.rmtree(attempt.dir, ignore_errors=True)

    def welcome(self, welcome):
        """Does what the verdicts say and takes over the orphans of which something is left."""
        self.delay, self.max_log_bytes = 0, welcome.max_log_bytes
        self.lease, self.beat_every = welcome.lease_duration.ToMilliseconds() / 1e3, welcome.heartbeat_interval.ToMilliseconds() / 1e3
        self.lease_until = self.beats[0] + self.lease
        self.log_window = min(welcome.attempt_log_window, welcome.session_log_window // self.options.slots)
        for verdict in welcome.verdicts:
            if verdict.kind == pb.VERDICT_KIND_START:
                self.handle("start", verdict.start)
            elif verdict.kind == pb.VERDICT_KIND_KEEP:
                self.held[verdict.attempt_id].follow(verdict.log_offset, self.log_window)
                self.handle("cancel", pb.Cancel(attempt_id=verdict.attempt_id, phase=verdict.cancel))
            else:
                self.handle("revoke", verdict)
        for orphan in welcome.orphans:
            attempt = Attempt(orphan.offer, self.options.state_dir)
            if is_left := (attempt.dir / "alive").exists():
                attempt.phase = pb.HELD_PHASE_RUNNING
                self.held[orphan.offer.attempt_id] = attempt
                self.handle("cancel", pb.Cancel(attempt_id=orphan.offer.attempt_id, phase=orphan.cancel))
            self.send(**{"adopt" if is_left else "disown": attempt.key})

    async def tick(self):
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if now > self.lease_until:
                self.lease_until = float("inf")
                self.call.cancel()
                for attempt in self.held.values():
                    if attempt.offer.on_lease_doubt == pipeline_pb2.LEASE_DOUBT_STOP:
                        attempt.kill(signal.SIGKILL)
            if not self.outbox:
                continue
            if now >= self.beats[-1] + self.beat_every:
                self.send(heartbeat={"seq": len(self.beats)})
                self.beats.append(now)
            for attempt in self.held.values():
                if attempt.phase == pb.HELD_PHASE_RUNNING:
                    attempt.step(self.send, self.max_log_bytes)

    def send(self, **frame):
        self.outbox.put_nowait(frame)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default=os.environ.get("CONVEYOR_ADDRESS", "127.0.0.1:7070"))
    parser.add_argument("--token", default=os.environ.get("CONVEYOR_TOKEN"), help="default: CONVEYOR_TOKEN")
    parser.add_argument("--instance", required=True, help="names this instance for good, also over restarts")
    parser.add_argument("--state-dir", required=True, type=Path, help="what is here survives a restart")
    parser.add_argument("--slots", type=int, default=2)
    asyncio.run(Driver(parser.parse_args()).serve())
