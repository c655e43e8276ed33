"""A complete driver for the tutorial's `builder` step in Python: gRPC and generated stubs, no SDK.

A build is a process of its own in the container of its run. Its log and exit code are files, which this driver follows: so bytes
can be sent again from any offset, memory is bounded, and whoever is started after a killed driver goes on with the build.
Frames are handled as they come, a ticker moves what time moves, and both run on one event loop, so that nothing is locked.
"""
import asyncio, os, random, secrets, shutil, signal, subprocess, sys, time
from pathlib import Path

import grpc
from conveyor.v1 import driver_service_pb2_grpc, driver_session_pb2 as pb, pipeline_pb2

ADDRESS, TOKEN = os.environ.get("CONVEYOR_ADDRESS", "127.0.0.1:7070"), os.environ.get("CONVEYOR_TOKEN")
SLOTS, CHUNK, TICK_S, LONGEST_DELAY_S = 2, 262_144, 0.02, 5
SPEC_SCHEMA = {"type": "object", "required": ["command"], "properties": {"command": {"type": "string"}}}
REFUSED = {grpc.StatusCode[name] for name in ("UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "ABORTED")}
WRAPPER = """
echo $$ >"$1/pid" && exec >"$1/log" 2>&1
(cd "$2" && eval "$3")
echo $? >"$1/exit.new" && mv "$1/exit.new" "$1/exit"
"""
CRC32C = list(range(256))
for _ in range(8):
    CRC32C = [crc >> 1 ^ (0x82F63B78 if crc & 1 else 0) for crc in CRC32C]


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Attempt:
    def __init__(self, offer, workspace=""):
        self.offer, self.key = offer, {"attempt_id": offer.attempt_id, "fence": offer.fence}
        self.dir = Path(workspace, f"build-{offer.job_id.encode().hex()}")
        self.phase, self.cancelled, self.process = pb.HELD_PHASE_ACCEPTED, False, None
        self.sent = self.window_end = self.summed = self.crc = 0

    def run(self, start, send):
        """Starts the build, unless that of an earlier attempt still runs, or ended unseen."""
        workspace = start.needs["container-start"].values["workspace"].string_value
        self.dir = workspace / self.dir
        send(checkpoint={**self.key, "handle": workspace.encode()})
        if (self.dir / "exit").exists() or self.signal(0):
            return
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir()
        command = ["sh", "-c", WRAPPER, "sh", self.dir, workspace, self.offer.spec["command"]]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        self.process.stdout.read()  # Closed once the process is on file.

    def follow(self, log_offset, log_window):
        self.phase, self.sent, self.window_end = pb.HELD_PHASE_RUNNING, log_offset, log_offset + log_window

    def signal(self, signum):
        """Signals the processes of the build; false when there are none."""
        try:
            if self.process:
                self.process.poll()
            os.killpg(int((self.dir / "pid").read_text()), signum)
            return True
        except (FileNotFoundError, ProcessLookupError):
            return False

    def step(self, send, max_log_bytes):
        """Sends what the log has grown by, as far as the window allows, and the result once all of it is sent."""
        ended = (self.dir / "exit").exists() or not self.signal(0)
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
        if ended and self.sent == self.summed == size:
            # Moved away first, since the next attempt is a new build.
            self.dir = self.dir.rename(self.dir.with_suffix(f".{self.offer.fence}"))
            code = int((self.dir / "exit").read_text()) if (self.dir / "exit").exists() else None
            outcome = "CANCELLED" if self.cancelled else "FAILED" if code != 0 else "SUCCEEDED"
            fault = "DRIVER" if code is None else "WORKLOAD"
            send(finish={**self.key, "outcome": f"FINISH_OUTCOME_{outcome}", "failure_class": f"FAILURE_CLASS_{fault}",
                         "exit_code": code, "log_size": size, "log_crc32c": self.crc, "log_lost": size < written})
            self.phase = pb.HELD_PHASE_FINISHED


class Driver:
    def __init__(self, instance):
        self.instance, self.incarnation, self.held = instance, secrets.token_bytes(16), {}
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
        async with grpc.aio.insecure_channel(ADDRESS, [("grpc.keepalive_time_ms", 10_000)]) as channel:
            outbox, self.beats = asyncio.Queue(), [time.monotonic()]
            outbox.put_nowait({"hello": {
                "protocol_version": 1, "driver": "builder", "instance_id": self.instance, "incarnation": self.incarnation,
                "slots": SLOTS, "spec_schema": SPEC_SCHEMA,
                "held": [{**held.key, "phase": held.phase, "log_offset": held.sent} for held in self.held.values()]}})

            async def requests():
                while True:
                    yield pb.SessionRequest(frames=[pb.DriverFrame(**await outbox.get())])

            metadata = [("authorization", f"Bearer {TOKEN}")]
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
            self.held[frame.attempt_id] = Attempt(frame)
            self.send(accept=self.held[frame.attempt_id].key)
        elif attempt and kind == "start":
            if attempt.phase == pb.HELD_PHASE_ACCEPTED:
                attempt.run(frame, self.send)
            attempt.follow(frame.log_offset, self.log_window)
        elif attempt and kind == "log_ack":
            attempt.sent, attempt.window_end = frame.offset if frame.gap else attempt.sent, frame.window_end
        elif attempt and kind == "log_missing":
            attempt.follow(frame.offset, self.log_window)
        elif attempt and kind == "cancel" and frame.phase:
            attempt.cancelled = True
            attempt.signal(signal.SIGKILL if frame.phase == pb.CANCEL_PHASE_KILL else signal.SIGTERM)
        elif attempt and kind in ("finish_ack", "revoke"):
            del self.held[frame.attempt_id]
            if attempt.phase == pb.HELD_PHASE_FINISHED:
                shutil.rmtree(attempt.dir, ignore_errors=True)

    def welcome(self, welcome):
        """Does what the verdicts say, and takes over the orphans whose build is still there."""
        self.delay, self.max_log_bytes = 0, welcome.max_log_bytes
        self.lease, self.beat_every = (d.ToMilliseconds() / 1e3 for d in (welcome.lease_duration, welcome.heartbeat_interval))
        self.lease_until = self.beats[0] + self.lease
        self.log_window = min(welcome.attempt_log_window, welcome.session_log_window // SLOTS)
        for verdict in welcome.verdicts:
            if verdict.kind == pb.VERDICT_KIND_START:
                self.handle("start", verdict.start)
            elif verdict.kind == pb.VERDICT_KIND_KEEP:
                self.held[verdict.attempt_id].follow(verdict.log_offset, self.log_window)
                self.handle("cancel", pb.Cancel(attempt_id=verdict.attempt_id, phase=verdict.cancel))
            else:
                self.handle("revoke", verdict)
        for orphan in welcome.orphans:
            attempt = Attempt(orphan.offer, orphan.checkpoint.decode())
            if found := (attempt.dir / "log").exists():
                attempt.phase, self.held[orphan.offer.attempt_id] = pb.HELD_PHASE_RUNNING, attempt
                self.handle("cancel", pb.Cancel(attempt_id=orphan.offer.attempt_id, phase=orphan.cancel))
            self.send(**{"adopt" if found else "disown": attempt.key})

    async def tick(self):
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if self.outbox and now >= self.beats[-1] + self.beat_every:
                self.send(heartbeat={"seq": len(self.beats)})
                self.beats.append(now)
            for attempt in self.held.values():
                if now > self.lease_until and attempt.offer.on_lease_doubt == pipeline_pb2.LEASE_DOUBT_STOP:
                    attempt.signal(signal.SIGKILL)
                if self.outbox and attempt.phase == pb.HELD_PHASE_RUNNING and attempt.window_end:
                    attempt.step(self.send, self.max_log_bytes)
            if self.outbox and now > self.lease_until:
                self.call.cancel()

    def send(self, **frame):
        self.outbox.put_nowait(frame)


if __name__ == "__main__":
    asyncio.run(Driver(instance=sys.argv[1]).serve())
