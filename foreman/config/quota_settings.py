"""The quotas of tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from foreman.config.checks import check_token_names

_MOST = 10**12


class QuotaSettings(BaseModel):
    """The limits of one token's jobs and files; what is left out is not limited."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    waiting: Annotated[int, Field(ge=1, le=_MOST)] | None = Field(default=None, description="Most jobs that wait.")
    running: Annotated[int, Field(ge=1, le=_MOST)] | None = Field(
        default=None, description="Most jobs that run at once. Further ones wait while others run."
    )
    tokens_per_hour: Annotated[int, Field(ge=1, le=_MOST)] | None = Field(
        default=None, description="Most tokens, of prompts and answers, of the jobs that ended in the last hour."
    )
    max_files: Annotated[int, Field(ge=1, le=_MOST)] | None = Field(
        default=None,
        description="Most uploaded files, results, and inputs of open batches that are kept. More are refused.",
    )


Quotas = Annotated[dict[str, QuotaSettings], AfterValidator(check_token_names)]  # by name of a token
