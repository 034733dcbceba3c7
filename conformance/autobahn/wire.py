"""Judging the peer's own octets: its handshake and every frame it sends.

The suite looks only at what a case asks about. A peer that masks in the wrong
direction, pads its lengths or talks on after its close frame passes there
unnoticed, so everything the peer sends goes through this module as well.

`Watch` reads frames as the octets arrive and keeps no payload but that of
control frames, so cases with many megabytes cost little. What it finds is a
list of plain sentences; an empty list means that nothing was wrong.
"""

import base64
import binascii
import codecs
import hashlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
OPCODES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
# More findings than this say nothing new about the peer.
MOST_FINDINGS = 8
# Fewer masked frames than this prove nothing about how keys are chosen.
FRAMES_TO_JUDGE_KEYS = 8


class Findings(list):
    """Sentences about what the peer did wrong, each kept once."""

    def note(self, text):
        if text not in self and len(self) < MOST_FINDINGS:
            self.append(text)


# --- handshake ---------------------------------------------------------------


class Head:
    """A parsed HTTP head: the start line and the fields in their order."""

    def __init__(self, raw):
        self.raw = raw
        lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        self.start = lines[0]
        self.fields = []
        self.malformed = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                self.malformed.append(line)
            self.fields.append((name.strip().lower(), value.strip()))

    def all(self, name):
        return [value for key, value in self.fields if key == name]

    def one(self, name):
        """The value of a field that stands exactly once, otherwise None."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None

    def tokens(self, name):
        joined = ",".join(self.all(name))
        return [token.strip().lower() for token in joined.split(",") if token.strip()]


def accept_for(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def extensions(head):
    """The extensions a head names: (name, [(parameter, value or None)])."""
    found = []
    for element in ",".join(head.all("sec-websocket-extensions")).split(","):
        name, *params = [part.strip() for part in element.split(";")]
        if not name:
            continue
        pairs = []
        for param in params:
            key, equals, value = param.partition("=")
            pairs.append((key.strip(), value.strip().strip('"') if equals else None))
        found.append((name, pairs))
    return found


def agreed_deflate(response):
    return any(name == "permessage-deflate" for name, _ in extensions(response))


def judge_common(head, findings):
    for line in head.malformed:
        findings.note(f"malformed header line {line[:60]!r}")
    if "websocket" not in head.tokens("upgrade"):
        findings.note("handshake without 'Upgrade: websocket'")
    if "upgrade" not in head.tokens("connection"):
        findings.note("handshake without 'Connection: Upgrade'")
    for name, params in extensions(head):
        if name == "permessage-deflate":
            judge_deflate_params(params, findings)


def judge_deflate_params(params, findings):
    """RFC 7692, 7.1: known names, each once, with values in their range."""
    names = [name for name, _ in params]
    for name, value in params:
        if names.count(name) > 1:
            findings.note(f"permessage-deflate names {name} twice")
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                findings.note(f"{name} has a value")
        elif name in ("server_max_window_bits", "client_max_window_bits"):
            # Only the client's offer may name client_max_window_bits bare;
            # judge_answer refuses that in an answer.
            bare = value is None and name == "client_max_window_bits"
            if not bare and value not in [str(bits) for bits in range(8, 16)]:
                findings.note(f"{name} has the bad value {value!r}")
        else:
            findings.note(f"permessage-deflate names the unknown parameter {name!r}")


def judge_response(request, response, findings):
    """A server's answer 101 to the request that the suite sent."""
    judge_common(response, findings)
    accept = response.one("sec-websocket-accept")
    wanted = accept_for(request.one("sec-websocket-key"))
    if accept != wanted:
        findings.note(f"Sec-WebSocket-Accept is {accept!r} instead of {wanted!r}")
    if response.all("sec-websocket-protocol"):
        findings.note("chose a subprotocol though none was offered")
    judge_answer(extensions(request), extensions(response), findings)


def judge_answer(offers, answers, findings):
    """A server's choice of extensions must fit one of the offers."""
    offered = [dict(params) for name, params in offers if name == "permessage-deflate"]
    for name, params in answers:
        if name not in [offer for offer, _ in offers]:
            findings.note(f"agreed to the extension {name!r} that was not offered")
        elif not any(fits_offer(offer, dict(params)) for offer in offered):
            findings.note("its permessage-deflate answer fits none of the offers")
    if len(answers) > 1 and offered:
        findings.note("agreed to permessage-deflate more than once")


def fits_offer(offer, answer):
    if "client_max_window_bits" in answer:
        if "client_max_window_bits" not in offer or answer["client_max_window_bits"] is None:
            return False
    if "server_no_context_takeover" in offer and "server_no_context_takeover" not in answer:
        return False
    limit = offer.get("server_max_window_bits")
    if limit is not None:
        chosen = answer.get("server_max_window_bits") or ""
        return chosen.isdigit() and int(chosen) <= int(limit)
    return True


def judge_request(request, keys_seen, findings):
    """A client's request; `keys_seen` holds the keys of its earlier ones."""
    judge_common(request, findings)
    if not (request.start.startswith("GET ") and request.start.endswith(" HTTP/1.1")):
        findings.note(f"bad request line {request.start[:60]!r}")
    if request.one("host") is None:
        findings.note("not exactly one Host field")
    if request.one("sec-websocket-version") != "13":
        findings.note("Sec-WebSocket-Version is not 13")
    key = request.one("sec-websocket-key") or ""
    try:
        octets = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != 16:
        findings.note(f"Sec-WebSocket-Key {key!r} is not base64 of 16 octets")
    elif key in keys_seen:
        findings.note("used a Sec-WebSocket-Key twice")
    keys_seen.add(key)


# --- frames ------------------------------------------------------------------


class Frame:
    """The frame being read: its header and how much of it is still to come."""

    def __init__(self, opcode, fin, length, mask):
        self.opcode, self.fin, self.mask = opcode, fin, mask
        self.left = length
        self.seen = 0
        self.control = b""

    def unmask(self, part):
        if not self.mask:
            return part
        # XOR of two big integers is far quicker than octet by octet.
        shift = self.seen % 4
        key = self.mask[shift:] + self.mask[:shift]
        key = (key * (len(part) // 4 + 1))[: len(part)]
        number = int.from_bytes(part, "big") ^ int.from_bytes(key, "big")
        return number.to_bytes(len(part), "big")


class Watch:
    """Reads the peer's frame stream and notes what breaks RFC 6455."""

    def __init__(self, findings, *, masked, deflate, any_code=False):
        self.findings = findings
        self.masked = masked  # a client has to mask, a server must not
        self.deflate = deflate
        self.any_code = any_code
        self.closed = False  # its close frame has been read
        self._head = b""
        self._need = 2
        self._frame = None
        self._message = None  # opcode of the message that is still open
        self._utf8 = None  # decoder of the open text message, if it is plain
        self._keys = set()
        self._masked_frames = 0

    def feed(self, data):
        position = 0
        while position < len(data) and not self.closed:
            if self._frame is None:
                take = self._need - len(self._head)
                self._head += data[position : position + take]
                position += take
                if len(self._head) == self._need:
                    self._read_head()
            else:
                part = data[position : position + self._frame.left]
                position += len(part)
                self._read_payload(part)
        if position < len(data):
            self.findings.note("sent octets after its close frame")

    def finish(self):
        """Call once at the end of the connection."""
        if self._masked_frames >= FRAMES_TO_JUDGE_KEYS and len(self._keys) == 1:
            self.findings.note(f"used one masking key for all {self._masked_frames} frames")

    def _read_head(self):
        head = self._head
        short = head[1] & 0x7F
        wide = {126: 2, 127: 8}.get(short, 0)
        need = 2 + wide + (4 if head[1] & 0x80 else 0)
        if len(head) < need:
            self._need = need
            return
        length = int.from_bytes(head[2 : 2 + wide], "big") if wide else short
        if (wide == 2 and length < 126) or (wide == 8 and length < 65536):
            self.findings.note(f"length {length} is not in its shortest form")
        if length >> 63:
            self.findings.note("a 64-bit length has its highest bit set")
        mask = head[2 + wide : need]
        self._head, self._need = b"", 2
        frame = Frame(head[0] & 0x0F, bool(head[0] & 0x80), length, mask)
        self._judge_mask(mask)
        if frame.opcode >= 8:
            self._judge_control(frame, head[0], length)
        else:
            self._judge_data(frame, head[0])
        self._frame = frame
        if frame.left == 0:
            self._end_frame()

    def _judge_mask(self, mask):
        if bool(mask) != self.masked:
            self.findings.note("sent a masked frame" if mask else "sent an unmasked frame")
        if mask:
            self._masked_frames += 1
            if len(self._keys) < 2:
                self._keys.add(bytes(mask))

    def _judge_control(self, frame, first, length):
        name = OPCODES.get(frame.opcode)
        if name is None:
            self.findings.note(f"sent the reserved opcode {frame.opcode}")
            name = "control"
        if first & 0x70:
            self.findings.note(f"set RSV bits on a {name} frame")
        if not frame.fin:
            self.findings.note(f"sent a fragmented {name} frame")
        if length > 125:
            self.findings.note(f"sent a {name} frame of {length} octets")

    def _judge_data(self, frame, first):
        if frame.opcode not in OPCODES:
            self.findings.note(f"sent the reserved opcode {frame.opcode}")
            return
        compressed = bool(first & 0x40)
        if first & 0x30:
            self.findings.note("set RSV2 or RSV3")
        if compressed and not (self.deflate and frame.opcode):
            self.findings.note("set RSV1 where no extension gives it a meaning")
        if frame.opcode == 0:
            if self._message is None:
                self.findings.note("sent a continuation frame without a message")
            return
        if self._message is not None:
            self.findings.note("began a message inside a fragmented one")
        self._message = frame.opcode
        plain_text = frame.opcode == 1 and not compressed
        self._utf8 = codecs.getincrementaldecoder("utf-8")() if plain_text else None

    def _read_payload(self, part):
        frame = self._frame
        if frame.opcode >= 8:
            if len(frame.control) <= 125:
                frame.control += frame.unmask(part)
        elif self._utf8:
            self._decode(frame.unmask(part), False)
        frame.seen += len(part)
        frame.left -= len(part)
        if frame.left == 0:
            self._end_frame()

    def _decode(self, octets, final):
        try:
            self._utf8.decode(octets, final)
        except UnicodeDecodeError:
            self.findings.note("sent a text message that is no UTF-8")
            self._utf8 = None

    def _end_frame(self):
        frame, self._frame = self._frame, None
        if frame.opcode == 8:
            self.closed = True
            self._judge_close(frame.control)
        elif frame.opcode < 8 and frame.fin:
            if self._utf8:
                self._decode(b"", True)
            self._message = self._utf8 = None

    def _judge_close(self, payload):
        if len(payload) == 1:
            self.findings.note("sent a close frame with one octet")
        if len(payload) < 2:
            return
        code = int.from_bytes(payload[:2], "big")
        sendable = code in range(1000, 1004) or code in range(1007, 1015)
        if not (sendable or code in range(3000, 5000) or self.any_code):
            self.findings.note(f"sent the close code {code}")
        try:
            payload[2:].decode("utf-8")
        except UnicodeDecodeError:
            self.findings.note("sent a close reason that is no UTF-8")
