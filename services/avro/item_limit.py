"""Limits the items of a record before it is decoded: a few megabytes can hold hundreds of thousands."""

from services.avro.schema import Array, AvroType, Optional, Primitive, RecordType, Union
from services.avro.varints import AvroDecodeError, read_block, read_length, read_varint


def check_items(record: RecordType, data: bytes, start: int, *, max_items: int) -> None:
    """Raise `AvroDecodeError` if the arrays of a record that begins at `start` have more than `max_items` in all.

    It reads no further than necessary, and raises for some of the invalid records, too.
    """
    try:
        _ItemCounter(data, max_items).skip(record, start)
    except IndexError:
        raise AvroDecodeError("ends too early") from None


class _ItemCounter:
    def __init__(self, data: bytes, max_items: int) -> None:
        self._data = data
        self._max_items = max_items
        self._items = 0

    def skip(self, type_: AvroType, position: int) -> int:
        """Return the position behind a value."""
        match type_:
            case RecordType(_, fields):
                for field in fields:
                    position = self.skip(field.type, position)
            case Array(items):
                position = self._skip_array(items, position)
            case Optional(inner):
                branch, position = self._read_number(position)
                position = self.skip(inner, position) if branch else position
            case Union(branches):
                branch, position = self._read_number(position)
                position = self.skip(branches[branch], position)
            case Primitive.STRING | Primitive.DECIMAL:
                length, position = read_length(self._data, self._data[position], position + 1)
                position += length
            case Primitive.BOOLEAN:
                position += 1
            case _:
                position = self._read_number(position)[1]
        return position

    def _skip_array(self, items: AvroType, position: int) -> int:
        while True:
            count, position = read_block(self._data, self._data[position], position + 1)
            if not count:
                return position
            self._items += count
            if self._items > self._max_items:
                raise AvroDecodeError(f"arrays have more than {self._max_items} items")
            for _ in range(count):
                position = self.skip(items, position)

    def _read_number(self, position: int) -> tuple[int, int]:
        return read_varint(self._data, self._data[position], position + 1)
