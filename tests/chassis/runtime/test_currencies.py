from services.chassis.runtime.currencies import load_all_currencies, load_currencies
from services.values.currencies import WITHDRAWN_CURRENCIES

# The current codes of November 2026.
CURRENT = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD
HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD
MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN
PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD
TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF XPD
XPF XPT XSU XTS XUA XXX YER ZAR ZMW ZWG
"""


def test_currencies_are_codes_in_upper_case() -> None:
    currencies = load_currencies()
    assert {"USD", "EUR", "JPY"} <= currencies
    assert all(len(code) == 3 and code.isupper() for code in currencies)


def test_withdrawn_currencies_are_not_current() -> None:
    assert {"HRK", "BGN", "DEM", "SLL", "ANG", "ZWL", "VEF", "XEU"} <= load_all_currencies() - load_currencies()
    assert all(len(code) == 3 and code.isupper() for code in WITHDRAWN_CURRENCIES)


def test_no_update_of_the_list_loses_a_code() -> None:
    """A code that disappears from the current ones belongs to those that were withdrawn."""
    assert set(CURRENT.split()) - load_all_currencies() == set()
