# The words of SMP that server and groups share.
from micropython import const

HEADER = const(8)  # octets: op and version, flags, length (2), group (2), sequence, command
READ = const(0)
WRITE = const(2)
VERSION_2 = const(1)  # the newest header version there is
REPLY_MAX = const(1024)  # octets of an answer, header included and its seal not

# Return codes that every group has: {"rc": n}, under header versions 1 and 2 alike.
EUNKNOWN = const(1)
ENOMEM = const(2)
EINVAL = const(3)
ETIMEOUT = const(4)
ENOENT = const(5)
EBADSTATE = const(6)
EMSGSIZE = const(7)  # the answer is too large
ENOTSUP = const(8)
EBUSY = const(10)
EACCESSDENIED = const(11)
ETOONEW = const(13)  # header version not known here


class SmpError(Exception):
    """A handler's refusal. Without a group, rc is one of the codes above; with one, the group's own
    code: {"err": {"group", "rc"}} to a version 2 client, {"rc": its nearest code above} to a version 1
    client (the group's `v1_codes`)."""

    def __init__(self, rc, group=None):
        super().__init__(rc, group)
        self.rc = rc
        self.group = group


class Silent(Exception):
    """The request gets no answer at all."""
