"""Webhooks: allowed addresses, signatures, and admission of deliveries."""
