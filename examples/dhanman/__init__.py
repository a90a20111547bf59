"""Dhanman: accounting. Invoices, their ledger, payments, notifications and exchange rates, whatever crashes."""
