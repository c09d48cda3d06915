"""What tokens and time cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from foreman.domain.usage import HOUR, Price

Amount = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]
MILLION = 10**6


class CostSettings(BaseModel):
    """What one model's jobs cost, in a currency of your own; what is left out costs nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Amount = Field(default=0, description="For a million tokens of prompts.")
    cached: Amount | None = Field(
        default=None, description="For a million of those that the server had in its cache. Without it, as `input`."
    )
    output: Amount = Field(default=0, description="For a million tokens of answers.")
    hour: Amount = Field(default=0, description="For an hour in which a slot works: power, or what the machine costs.")

    def price(self) -> Price:
        """Return it for one token, and for one second."""
        cached = self.input if self.cached is None else self.cached
        return Price(self.input / MILLION, cached / MILLION, self.output / MILLION, self.hour / HOUR)


Costs = dict[str, CostSettings]  # by model
