"""One X server with its window manager and programs in a sandbox: events in, pixels, pointer and windows out.

Every server is display :0 of its own sandbox, so displays never clash and nothing of it outlives the sandbox. The host
reaches its socket and its framebuffer (a file that Xvfb maps into memory) through /proc/PID/root.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import numpy as np
import xcffib
import xcffib.xfixes
import xcffib.xproto
import xcffib.xtest
from numpy.typing import NDArray

from nc_gym.machines import desktop_box, sandbox
from nc_gym.machines.desktop_box import ServerLost
from nc_gym.machines.desktop_events import HEIGHT, KEY_PRESS, KEY_RELEASE, MOVE, PAUSE, SHIFT, WIDTH, Stroke
from nc_gym.machines.pointer import Sprite
from nc_gym.machines.quiet import ProcessTree
from nc_gym.machines.window import Window

Seen = TypeVar("Seen")
_READY = b"ready\n"
_CRASHED = re.compile(rb"crashed: ([ -~]{1,80})\n")  # of start.sh and run.sh, but others in there can write it, too
_LOOKS = 5  # at what changes meanwhile: windows that come and go, programs that draw
_LOOK_APART = 0.01  # seconds in which a program that draws gets to the end of a line
_REPLY_CAP = 10.0  # seconds in which an idle server must answer


@contextmanager
def _lost_if_gone() -> Iterator[None]:
    """Turns what a dead or silent server raises into ``ServerLost``."""
    try:
        yield
    except (OSError, xcffib.XcffibException) as error:
        raise ServerLost(f"the X server is gone: {error}") from error


class XServer:
    """One X server with its clients, alone in a sandbox.

    Attributes:
        tree: the processes of its sandbox.
        pixels: the framebuffer without the pointer, uint8 (240, 320, 4): blue, green, red, unused; changes by itself.
        pointer: x and y of the pixel that the pointer points at.
        sprite: the pointer's image.
    """

    pixels: NDArray[np.uint8]
    sprite: Sprite

    def __init__(self) -> None:
        self._cookie = secrets.token_hex(8).encode()
        self._process = sandbox.spawn(desktop_box.START, desktop_box.box(self._cookie))
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self.tree = ProcessTree(self._process.pid)
        self._leader = -1
        self._init_file = -1
        self._connection: xcffib.Connection | None = None
        self._said = b""
        self.pointer = (-1, -1)

    def alive(self) -> bool:
        """Tells whether server and window manager run."""
        return self._process.poll() is None

    def crash(self) -> str:
        """Returns which programs ended otherwise than well, and how; the tree must have settled. Empty if none did."""
        if _readable(self._output.fileno(), 0):
            said = os.read(self._output.fileno(), 1 << 16)  # at most that: what is inside can write on and on
            return b"; ".join(_CRASHED.findall(said)).decode(errors="replace")
        return ""

    def printed(self) -> str:
        """Returns what the server complained about when it started."""
        return self._said.removeprefix(_READY).decode(errors="replace").strip()

    def connect(self, deadline: float) -> None:
        """Waits for the server, connects to it and maps its framebuffer.

        Args:
            deadline: when to give up, on the clock of ``time.perf_counter``.

        Raises:
            ServerLost: it cannot be reached.
        """
        while _READY not in self._said:
            wait = max(0.0, deadline - time.perf_counter())
            data = os.read(self._output.fileno(), 4096) if _readable(self._output.fileno(), wait) else b""
            self._said += data
            if not data:
                raise ServerLost("the X server did not come up")
        try:
            init = _first_child(self._process.pid)
            self._init_file = os.pidfd_open(init)
            self._leader = _first_child(init)
            root = f"/proc/{self._leader}/root"
            self.pixels = _map(f"{root}/tmp/Xvfb_screen0")
            with socket.socket(socket.AF_UNIX) as plug:
                plug.connect(f"{root}/tmp/.X11-unix/X0")
                self._connect(plug.detach())
        except (OSError, IndexError, xcffib.XcffibException) as error:
            raise ServerLost(f"the X server cannot be reached: {error}") from error

    def _connect(self, plug: int) -> None:
        ffi = xcffib.ffi
        name, data = ffi.from_buffer(desktop_box.AUTH), ffi.from_buffer(self._cookie)
        auth = ffi.new("xcb_auth_info_t *", {"namelen": len(name), "name": name, "datalen": len(data), "data": data})
        self._connection = xcffib.wrap(xcffib.lib.xcb_connect_to_fd(plug, auth))
        self._core = self._connection.core
        self._test = self._connection(xcffib.xtest.key)
        self._fixes = self._connection(xcffib.xfixes.key)
        self._root = self._connection.get_setup().roots[0].root
        self._reply(self._fixes.QueryVersion(4, 0))
        self._fixes.SelectCursorInput(self._root, xcffib.xfixes.CursorNotifyMask.DisplayCursor)
        self._keycodes = self._read_keymap()
        self._atoms: dict[str, int] = {}
        self._normal: dict[int, tuple[int, int, int, int]] = {}  # of the windows that were listed last
        self._see_sprite()

    def _reply(self, cookie: xcffib.Cookie) -> xcffib.Reply:
        """Returns the answer to a request; a server that keeps it back is lost."""
        assert self._connection is not None
        self._connection.flush()
        if not _readable(self._connection.get_file_descriptor(), _REPLY_CAP):
            raise ServerLost(f"the X server did not answer within {_REPLY_CAP:g} s")
        return cookie.reply()

    def _read_keymap(self) -> dict[int, tuple[int, bool]]:
        """Returns which keycode makes each keysym, and whether with Shift."""
        assert self._connection is not None
        setup = self._connection.get_setup()
        first, count = setup.min_keycode, setup.max_keycode - setup.min_keycode + 1
        reply = self._reply(self._core.GetKeyboardMapping(first, count))
        keymap: dict[int, tuple[int, bool]] = {}
        for shifted in (False, True):
            for index in range(count):
                keysym = reply.keysyms[index * reply.keysyms_per_keycode + shifted]
                keymap.setdefault(keysym, (first + index, shifted))
        return keymap

    def send(self, stroke: Stroke) -> None:
        """Sends pointer, button and key events, all at once.

        Raises:
            ServerLost: the server died.
        """
        assert self._connection is not None
        pause = 0
        with _lost_if_gone():
            for kind, first, second in stroke:
                if kind == PAUSE:
                    pause = first
                elif kind in (KEY_PRESS, KEY_RELEASE):
                    self._key(kind, first)
                elif kind == MOVE:
                    self._test.FakeInput(MOVE, 0, 0, self._root, first, second, 0)
                    self.pointer = (first, second)
                else:
                    self._test.FakeInput(kind, first, pause, self._root, 0, 0, 0)
                    pause = 0
            if any(kind == PAUSE for kind, *_ in stroke):
                self._reply(self._core.GetInputFocus())  # answered after all of the above
            self._connection.flush()

    def _key(self, kind: int, keysym: int) -> None:
        """Presses or releases a key, with Shift around it where the keyboard needs that."""
        code, shifted = self._keycodes[keysym]
        codes = [self._keycodes[SHIFT][0], code] if shifted else [code]
        for each in codes if kind == KEY_PRESS else reversed(codes):
            self._test.FakeInput(kind, each, 0, self._root, 0, 0, 0)

    def see(self) -> None:
        """Updates the pointer's place and image; the server must have settled.

        Raises:
            ServerLost: the server died or does not answer.
        """
        assert self._connection is not None
        with _lost_if_gone():
            reply = self._reply(self._core.QueryPointer(self._root))
            self.pointer = (reply.root_x, reply.root_y)
            changed = False
            while (event := self._connection.poll_for_event()) is not None:
                changed |= isinstance(event, xcffib.xfixes.CursorNotifyEvent)
            if changed:
                self._see_sprite()

    def picture(self) -> NDArray[np.uint8]:
        """Returns the pixels while programs draw, as they are between two requests: no letter is half drawn.

        A line may still be cleared and not yet written, so it looks until a picture stays the same for a while, if one
        does.

        Raises:
            ServerLost: the server died or does not answer.
        """
        area = (xcffib.xproto.ImageFormat.ZPixmap, self._root, 0, 0, WIDTH, HEIGHT, 0xFFFFFFFF)
        last = b""
        with _lost_if_gone():
            for _ in range(_LOOKS):
                seen, last = last, bytes(self._reply(self._core.GetImage(*area)).data.raw)
                if seen == last:
                    break
                time.sleep(_LOOK_APART)
        return np.frombuffer(last, np.uint8).reshape(HEIGHT, WIDTH, 4)

    def pointed_at(self) -> tuple[int, tuple[int, int]]:
        """Returns the frame under the pointer (0: the empty desktop) and where in it the pointer points.

        Raises:
            ServerLost: the server died or does not answer.
        """
        return self._steadily(self._ask_pointed_at)

    def _ask_pointed_at(self) -> tuple[int, tuple[int, int]]:
        reply = self._reply(self._core.QueryPointer(self._root))
        if not reply.child:
            return 0, (reply.root_x, reply.root_y)
        frame = self._reply(self._core.GetGeometry(reply.child))
        return reply.child, (reply.root_x - frame.x, reply.root_y - frame.y)

    def _steadily(self, look: Callable[[], Seen]) -> Seen:
        """Looks again if a window came or went between two requests: that is no lost server."""
        with _lost_if_gone():
            for _ in range(_LOOKS):
                with suppress(xcffib.Error, ValueError):  # BadWindow, BadDrawable, a frame not among the children
                    return look()
        raise ServerLost(f"windows came and went during {_LOOKS} looks at them")

    def _see_sprite(self) -> None:
        reply = self._reply(self._fixes.GetCursorImage())
        words = np.array(reply.cursor_image, "<u4").reshape(reply.height, reply.width)
        pixels = words.view(np.uint8).reshape(reply.height, reply.width, 4)[:, :, [2, 1, 0, 3]]
        self.sprite = Sprite(pixels, (reply.xhot, reply.yhot))

    def managed(self) -> bool:
        """Tells whether the window manager has taken over."""
        with _lost_if_gone():
            return bool(self._property(self._root, "_NET_SUPPORTING_WM_CHECK"))

    def windows(self) -> list[Window]:
        """Returns the windows that the window manager lists, lowest first.

        Raises:
            ServerLost: the server died or does not answer.
        """
        return self._steadily(self._ask_windows)

    def _ask_windows(self) -> list[Window]:
        active = self._property(self._root, "_NET_ACTIVE_WINDOW")
        listed = self._property(self._root, "_NET_CLIENT_LIST")
        state, hidden, large = (self._atom(f"_NET_WM_STATE{name}") for name in ("", "_HIDDEN", "_MAXIMIZED_HORZ"))
        frames = list(self._reply(self._core.QueryTree(self._root)).children)
        requests = [self._ask_about(window, state) for window in listed]  # all at once: one round trip
        self._reply(self._core.GetInputFocus())
        stack: dict[int, Window] = {}
        normal: dict[int, tuple[int, int, int, int]] = {}
        for task, (window, (tree, size, place, name, states)) in enumerate(zip(listed, requests, strict=True)):
            box, corner = size.reply(), place.reply()
            sides, now = (corner.dst_x, corner.dst_y, box.width, box.height), _numbers(states.reply())
            normal[window] = self._normal.get(window, sides) if large in now else sides
            title = bytes(_numbers(name.reply())).decode("latin-1")
            frame = frames.index(tree.reply().parent)
            stack[frame] = Window(title, *sides, hidden in now, window in active, task, normal[window])
        self._normal = normal
        return [stack[frame] for frame in sorted(stack)]

    def _ask_about(self, window: int, state: int) -> tuple[xcffib.Cookie, ...]:
        """Requests a window's frame, size, place, title and state."""
        core, name = self._core, xcffib.xproto.Atom.WM_NAME
        return (
            core.QueryTree(window),
            core.GetGeometry(window),
            core.TranslateCoordinates(window, self._root, 0, 0),
            core.GetProperty(False, window, name, xcffib.xproto.GetPropertyType.Any, 0, 64),
            core.GetProperty(False, window, state, xcffib.xproto.GetPropertyType.Any, 0, 64),
        )

    def _atom(self, name: str) -> int:
        if name not in self._atoms:
            self._atoms[name] = self._reply(self._core.InternAtom(False, len(name), name)).atom
        return self._atoms[name]

    def _property(self, window: int, name: str) -> list[int]:
        """Returns the numbers (or the bytes) that a window's property holds; none if it has no such property."""
        any_type = xcffib.xproto.GetPropertyType.Any
        return _numbers(self._reply(self._core.GetProperty(False, window, self._atom(name), any_type, 0, 1024)))

    def read_file(self, name: str) -> bytes:
        """Returns a file of the home; a link is not followed, since it would lead out of the sandbox."""
        path = f"/proc/{self._leader}/root{sandbox.HOME}/{os.path.basename(name)}"
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read()

    def close(self) -> None:
        """Kills everything in the sandbox and waits until it is gone."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None
        if self._init_file >= 0:  # the end of its first process ends the sandbox, and bwrap itself after it
            with suppress(ProcessLookupError):  # it may have died just now
                signal.pidfd_send_signal(self._init_file, signal.SIGKILL)
            os.close(self._init_file)
            self._init_file = -1
        else:
            self._process.kill()
        self._process.wait()
        self._output.close()
        self.tree.close()


def _readable(file: int, seconds: float) -> bool:
    """Waits until there is something to read; unlike select, poll takes file numbers above 1,023."""
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(1000 * seconds))


def _numbers(reply: xcffib.xproto.GetPropertyReply) -> list[int]:
    """Returns the numbers (or the bytes) that a property holds; none if there is no such property."""
    return np.frombuffer(reply.value.raw, f"<u{reply.format // 8}").tolist() if reply.format else []


def _first_child(pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return int(file.read().split()[0])


def _map(path: str) -> NDArray[np.uint8]:
    """Maps an XWD file of true colour and returns its pixels, uint8 (H, W, 4)."""
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    header = struct.unpack(">20I", content[:80])
    start = header[0] + header[19] * 12
    return np.frombuffer(content, np.uint8, HEIGHT * WIDTH * 4, start).reshape(HEIGHT, WIDTH, 4)
