"""Files of an instance or a volume: `RemotePath`, and what its verbs return."""

from ._paths import RemotePath as RemotePath
from ._paths import RemoteReader as RemoteReader
from ._paths import RemoteWriter as RemoteWriter
from ._sftp import FileStat as FileStat
from ._trees import Transfer as Transfer
