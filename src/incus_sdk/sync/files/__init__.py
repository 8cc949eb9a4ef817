"""Files of an instance or a volume: `RemotePath`, and what its verbs return."""

from ...files._sftp import FileStat as FileStat
from ...files._trees import Transfer as Transfer
from ._file_streams import RemoteReader as RemoteReader
from ._file_streams import RemoteWriter as RemoteWriter
from ._paths import RemotePath as RemotePath
