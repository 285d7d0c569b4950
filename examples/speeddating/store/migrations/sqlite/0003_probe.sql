-- What a server writes to see whether a disk that was full has room again.
CREATE TABLE probe (
	id    INTEGER PRIMARY KEY,
	noise BLOB NOT NULL
);
