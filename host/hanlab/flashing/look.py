"""What is on a board: a script that runs at its REPL, and what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hanlab.boards.files import STATE
from hanlab.errors import UsageError

BOARD_JSON: Final = f"{STATE}/board.json"
_LINE: Final = "hanlab:"
"""What each line of the script's begins with: a board may print other things."""

# MicroPython: it changes nothing. Keys do not leave the board, but what tells whether they are the same.
SCRIPT: Final = """
import gc,os,sys
gc.collect()
import json,hashlib
from binascii import hexlify
def say(*a):
 print('hanlab:'+json.dumps(a))
def have(m,p):
 for n in list(sys.modules):
  if n==m:del sys.modules[n]
 o=sys.path[:]
 sys.path[:]=p
 try:
  __import__(m)
  return True
 except Exception:
  return False
 finally:
  sys.path[:]=o
def sha(p):
 h=hashlib.sha256()
 v=memoryview(b)
 with open(p,'rb') as f:
  while 1:
   n=f.readinto(b)
   if not n:break
   h.update(v[:n])
 return hexlify(h.digest()).decode()
def walk(d):
 for e in os.ilistdir('/'+d):
  p=d+e[0]
  if e[1]&0x4000:
   if p not in('rom','remote'):walk(p+'/')
  elif p=='hanlab/board.json':
   say('file',p,e[3],sha('/'+p))
   try:
    with open('/'+p) as f:c=json.load(f)
    say('is',c['eui'],c['role'],hexlify(hashlib.sha256(c['wan']['key'].encode()).digest()).decode())
   except Exception:pass
  else:say('file',p,e[3],None if d.startswith('hanlab/') else sha('/'+p))
b=bytearray(1024)
i=sys.implementation
try:
 import machine
 u=hexlify(machine.unique_id()).decode()
except Exception:u=''
say('chip',sys.platform,i[0],i[1][:3],getattr(i,'_machine',''),getattr(i,'_build',''),getattr(i,'_mpy',0),u)
say('frozen',have('cable',['.frozen']))
say('usb',have('usb.device.cdc',sys.path[:]))
s=os.statvfs('/')
say('room',s[0],s[2],s[3])
walk('')
say('end')
"""


@dataclass(frozen=True)
class File:
    """On the board. `sha`: in hex; None: of what the firmware has stored nobody asks."""

    size: int
    sha: str | None = None


@dataclass(frozen=True)
class Identity:
    """Whose board it is. `key`: SHA-256 of its WAN key's hex."""

    eui: str
    role: str
    key: str


@dataclass(frozen=True)
class Found:
    """A board with MicroPython on it."""

    platform: str
    """MicroPython's port: rp2, esp32."""
    version: tuple[int, ...]
    machine: str
    build: str
    """As the pages of micropython.org/download are called: RPI_PICO."""
    mpy: int
    """sys.implementation._mpy: version, sub-version, architecture."""
    unique_id: str
    frozen: bool
    """The firmware is in that MicroPython."""
    usb: bool
    """micropython-lib's usb-device-cdc is there."""
    block: int
    """Octets of a block of its filesystem."""
    blocks: int
    free: int
    """Blocks."""
    files: Mapping[str, File]
    identity: Identity | None = None

    @property
    def mpy_version(self) -> tuple[int, int]:
        return self.mpy & 0xFF, self.mpy >> 8 & 3

    @property
    def architecture(self) -> int:
        """As py/persistentcode.h counts them."""
        return self.mpy >> 10 & 0xF

    @property
    def chip(self) -> str:
        """MicroPython writes BOARD with CHIP."""
        return self.machine.rpartition(" with ")[2]

    @property
    def micropython(self) -> str:
        return ".".join(map(str, self.version))


def identity_of(board_json: Mapping[str, Any]) -> Identity:
    """Whose board it is that has this board.json."""
    key = hashlib.sha256(board_json["wan"]["key"].encode()).hexdigest()
    return Identity(board_json["eui"], board_json["role"], key)


def found(output: str) -> Found:
    """What the script has said.

    Raises:
        UsageError: it did not come to its end, or no MicroPython said it.
    """
    said: dict[str, list[Any]] = {}
    files: dict[str, File] = {}
    for line in output.splitlines():
        if not line.startswith(_LINE):
            continue
        try:
            what, *rest = json.loads(line[len(_LINE) :])
        except ValueError:
            continue
        if what == "file":
            files[rest[0]] = File(rest[1], rest[2])
        else:
            said[what] = rest
    if "end" not in said:
        lines = output.strip().splitlines()
        raise UsageError(
            f"the board did not say what is on it: {lines[-1] if lines else 'it said nothing'}",
            next_step="again; if it says the same, erase its flash (boards/README.md) and flash it anew",
        )
    platform, _, version, machine, build, mpy, unique_id = said["chip"]
    block, blocks, free = said["room"]
    return Found(
        platform,
        tuple(version),
        machine,
        build,
        mpy,
        unique_id,
        frozen=said["frozen"][0],
        usb=said["usb"][0],
        block=block,
        blocks=blocks,
        free=free,
        files=files,
        identity=Identity(*said["is"]) if "is" in said else None,
    )
