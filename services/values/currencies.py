"""ISO 4217 currency codes; the list of codes is an argument."""

from collections.abc import Set as AbstractSet

from services.values.invalid import Invalid, InvalidKind

DEFAULT_CURRENCY = "USD"
# Withdrawn codes: ISO 4217's list three ("historic denominations") and its amendments until 2026, because old sales are
# imported, too. Add each code that ISO removes from the list of current ones.
_WITHDRAWN = """
ADP AFA ALK ANG AOK AON AOR ARA ARP ARY ATS AYM AZM BAD BEC BEF BEL BGJ BGK BGL BGN BOP BRB BRC BRE BRN BRR BUK
BYB BYR CHC CNX CSD CSJ CSK CUC CYP DDM DEM ECS ECV EEK EQE ESA ESB ESP FIM FRF GEK GHC GHP GNE GNS GQE GRD GWE
GWP HRD HRK IEP ILP ILR ISJ ITL LAJ LSM LTL LTT LUC LUF LUL LVL LVR MAF MGF MLF MRO MTL MTP MVQ MXP MZE MZM NIC
NLG PEH PEI PES PLZ PTE RHD ROK ROL RUR SDD SDP SIT SKK SLL SRG STD SUR TJR TMM TPE TRL UAK UGS UGW USS UYN UYP
VEB VEF VNC XEU XFO XFU XRE YDD YUD YUM YUN ZAL ZMK ZRN ZRZ ZWC ZWD ZWL ZWN ZWR
"""
WITHDRAWN_CURRENCIES = frozenset(_WITHDRAWN.split())

_UNKNOWN = Invalid(InvalidKind.CURRENCY, "must be an ISO 4217 currency code")


def validate_currency(code: str, known: AbstractSet[str]) -> Invalid | None:
    """Validate a code in upper case."""
    return None if code in known else _UNKNOWN


def read_currency(value: object, known: AbstractSet[str]) -> str | Invalid:
    """Return the code in upper case; any case is accepted."""
    if not isinstance(value, str):
        return _UNKNOWN.but_found(value)
    # Only ASCII: `upper()` may turn other letters into a valid code.
    code = value.upper() if value.isascii() else value
    return validate_currency(code, known) or code
