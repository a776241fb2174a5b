"""DUIS: Service Requests, Service Responses and DCC Alerts as XML of the shape of DUIS 5.4."""
