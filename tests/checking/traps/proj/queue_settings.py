# of config_from_object in flask_style.py
broker_url = "kafka://"  # expect: setting not-supported
task_acks_late = True  # expect: setting same


def beat_schedule():
    task_serializer = "pickle"
    return task_serializer
