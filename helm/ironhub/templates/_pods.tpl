{{/* Of every pod: a user without any rights. */}}
{{- define "ironhub.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "ironhub.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What the pods of a part have in common, from the values of the part: (list $ .Values.gateway). */}}
{{- define "ironhub.podPlacement" -}}
{{- $ := index . 0 -}}
{{- $part := index . 1 -}}
# Variables for each Service would look like settings of the hub.
enableServiceLinks: false
securityContext:
  {{- include "ironhub.podSecurity" $ | nindent 2 }}
{{- with $.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $part.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A gateway or shard says itself how it is: live unless it cannot recover, ready when it serves. */}}
{{- define "ironhub.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end }}

{{/* Single settings of the user's, which win over the file. */}}
{{- define "ironhub.setArguments" -}}
{{- range $name, $value := . }}
- {{ printf "--set=%s=%v" $name (ternary (printf "%.0f" $value) $value (and (kindIs "float64" $value) (eq (floor $value) $value))) | quote }}
{{- end }}
{{- end }}

{{/* What both roles begin their configuration with. */}}
{{- define "ironhub.commonSettings" -}}
listen_address = "0.0.0.0"
{{- end }}

{{- define "ironhub.logAndAdmin" -}}
[log]
format = {{ .Values.log.format | toJson }}
filter = {{ .Values.log.filter | toJson }}

# Only pods that the NetworkPolicy lets in read these pages.
[admin]
address = "0.0.0.0"
port = 9600
{{- end }}

{{- define "ironhub.commonSections" -}}
{{ include "ironhub.logAndAdmin" . }}

[peer]
authority_file = "/certificates/peer/ca.crt"
certificate_file = "/certificates/peer/tls.crt"
key_file = "/certificates/peer/tls.key"
{{- end }}
