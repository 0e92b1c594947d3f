"""Jobs as a person meets them: they outlive their page, are cancelled and resumed, and older ones are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.store.jobs import SHOWN, Job
from pipeline.store.store import Store
from tests.browser import open_example

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_job_goes_on_without_its_page_is_cancelled_and_resumed(page: Page, store: Store) -> None:
    open_example(page)
    page.click("text=Inversion, tau and steps")
    page.fill("#steps input[type=number]", "40")
    page.keyboard.press("Tab")
    page.click("#study-job")
    page.click(".status:has-text('It goes on when this page is closed') a")
    page.wait_for_selector("#jobs li[data-state=running]")
    page.reload()
    page.wait_for_selector("#jobs li[data-state=running] .said:has-text('editing')")
    button = page.locator("#jobs [data-do=cancel]")
    button.focus()
    page.wait_for_selector("#jobs li [role=progressbar]:not([aria-valuenow='0'])")
    assert page.evaluate("document.activeElement.dataset.do") == "cancel"  # though the list was drawn anew
    page.keyboard.press("Enter")
    page.wait_for_selector("#jobs li[data-state=cancelled] .reason:has-text('what was finished is kept')")
    page.wait_for_selector("#jobs-news [role=status] p:has-text('cancelled')", state="attached")
    (job,) = store.jobs.all()
    assert job.state == "cancelled"

    page.click("#jobs [data-do=retry]:has-text('Resume')")
    page.wait_for_selector("#jobs li[data-state=running]")
    page.click("#jobs [data-do=cancel]")
    page.wait_for_selector("#jobs li[data-state=cancelled]")
    page.click("#jobs a:has-text('Open the photo')")
    page.wait_for_selector("#variations .proposal")
    assert len(store.jobs.all()) == 1


def test_older_jobs_are_listed_when_asked_for_and_one_of_another_profile_says_so(
    page: Page, address: str, store: Store
) -> None:
    store.jobs.add(Job(id="other", kind="study", title="Elsewhere", profile="paper"), "{}")
    for number in range(SHOWN + 2):
        store.jobs.add(Job(id=str(number), kind="study", title=f"Job {number}", profile="gone"), "{}")
        store.jobs.cancel(str(number))
    page.goto(f"{address}/jobs")
    waiting = page.locator("#jobs li[data-state=waiting]")
    waiting.wait_for()
    assert "Waits for a server with --profile paper" in waiting.inner_text()
    assert page.locator("#jobs li").count() == SHOWN + 1
    page.click("#jobs [data-do=more]:has-text('(2)')")
    page.wait_for_selector("#jobs li:has-text('Job 0')")
    assert page.locator("#jobs [data-do=more]").count() == 0
    store.jobs.add(Job(id="late", kind="study", title="Late", profile="gone"), "{}")
    page.wait_for_selector("#jobs li:has-text('Late')")  # the list is drawn anew
    assert page.locator("#jobs li").count() == SHOWN + 4
    page.click("#jobs li[data-state=waiting]:has-text('Elsewhere') [data-do=cancel]")
    page.wait_for_selector("#jobs li[data-state=cancelled]:has-text('Elsewhere')")
