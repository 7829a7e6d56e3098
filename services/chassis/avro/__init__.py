"""Avro on the wire: schemas with their registry ids, wire format, compatibility."""
