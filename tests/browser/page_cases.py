"""The pages that the generic checks go through. Add a page here, and all of them apply to it."""

from dataclasses import dataclass

CUSTOMER = ("5934de97c95e1ced", "2l9dr0jkink11ad49hg93it52d")
OTHER_CUSTOMER = ("7a81c2f04be96d35", "k3v09qmdw7pz1r5x8tj2bn6hcf")
OPERATOR = ("0f6b3d1e92c87a45", "q8w2n5yd3kz7r1m6vt4xj9bc0p")


@dataclass(frozen=True, slots=True)
class PageCase:
    """A page: its name (of pictures, too), its path, and who opens it; None is nobody.

    The path may name what `seed.py` has made: `{job}`, an import with failures of several kinds; `{good_job}`, one
    without. `status` is that of the response, `title` the text of its heading.
    """

    name: str
    path: str
    title: str
    who: tuple[str, str] | None = CUSTOMER
    status: int = 200


PAGES = (
    PageCase("sign-in", "/portal/sign-in", "Sign in", who=None),
    PageCase("home", "/portal/", "Home"),
    PageCase("home-empty", "/portal/", "Home", who=OTHER_CUSTOMER),
    PageCase("home-operator", "/portal/", "Home", who=OPERATOR),
    PageCase("jobs", "/portal/jobs", "Imports"),
    PageCase("jobs-filtered", "/portal/jobs?state=FAILED&type=returns", "Imports"),
    PageCase("jobs-empty", "/portal/jobs", "Imports", who=OTHER_CUSTOMER),
    PageCase("job", "/portal/jobs/{job}", "Orders import"),
    PageCase("job-failed-records", "/portal/jobs/{job}?outcome=failed", "Orders import"),
    PageCase("job-good", "/portal/jobs/{good_job}", "Orders import"),
    PageCase("not-found", "/portal/jobs/00000000-0000-1000-8000-000000000000", "No such import", status=404),
)
