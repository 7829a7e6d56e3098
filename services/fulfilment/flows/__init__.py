"""What fulfilment does: takes orders, delivers codes, closes days, loads stock."""
