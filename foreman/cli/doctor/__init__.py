"""`foreman doctor`: whether Foreman could start and work here, and what to do where it could not."""

from foreman.cli.doctor.command import doctor as doctor
