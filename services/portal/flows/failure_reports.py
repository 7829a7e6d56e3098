"""Reports of what went wrong, kept for jobs that have ended: their failures never change."""

from collections import OrderedDict

from services.portal.domain.failures import FailureReport
from services.portal.domain.jobs import JobView
from services.portal.flows.jobs import report_failures
from services.portal.ports import JobsApi

MAX_REPORTS = 2_000


class FailureReports:
    """Reads the failures of a job once. A job is asked for by those only who were shown it by the status API."""

    def __init__(self, *, max_reports: int = MAX_REPORTS) -> None:
        self._max_reports = max_reports
        self._reports: OrderedDict[tuple[int, str], FailureReport] = OrderedDict()

    async def get(self, jobs: JobsApi, site: int, job: JobView) -> FailureReport:
        """Return what went wrong with a site's job; raises the errors of `tillstream`."""
        key = (site, job.id)
        report = self._reports.get(key)
        if report is None:
            report = await report_failures(jobs, job)
            if job.is_finished:
                self._reports[key] = report
                if len(self._reports) > self._max_reports:
                    self._reports.popitem(last=False)
        return report
