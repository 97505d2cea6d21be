{{- /* SPDX-License-Identifier: MIT */ -}}

{{- /* Of 40 characters at most: Kubernetes makes labels of names, with more behind them. */ -}}
{{- define "signalbox.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "signalbox.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "signalbox.redisSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: redis
{{- end -}}

{{- define "signalbox.testSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end -}}

{{- define "signalbox.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "signalbox.labels" -}}
{{ include "signalbox.selector" . }}
{{ include "signalbox.chartLabels" . }}
{{- end -}}

{{- define "signalbox.redisLabels" -}}
{{ include "signalbox.redisSelector" . }}
{{ include "signalbox.chartLabels" . }}
{{- end -}}

{{- define "signalbox.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "signalbox.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "signalbox.redisPodSecurity" -}}
runAsNonRoot: true
runAsUser: 999
runAsGroup: 999
fsGroup: 999
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "signalbox.redisClaim" -}}
- metadata:
    name: data
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .Values.redis.storage.className }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests: {storage: {{ .Values.redis.storage.size }}}
{{- end -}}

{{- /* Where workers find the bundled Redis; REDIS_PASSWORD is put in by Kubernetes. */ -}}
{{- define "signalbox.redisUrl" -}}
{{- $redis := printf "%s-redis" (include "signalbox.name" .) -}}
{{- if .Values.redis.sentinel.enabled -}}
  {{- $sentinels := list -}}
  {{- range $n := until 3 -}}
  {{- $sentinels = append $sentinels (printf "%s-ha-%d.%s-ha:26379" $redis $n $redis) -}}
  {{- end -}}
  redis+sentinel://:$(REDIS_PASSWORD)@{{ join "," $sentinels }}/signalbox/0
{{- else -}}
  redis://:$(REDIS_PASSWORD)@{{ $redis }}:6379/0
{{- end -}}
{{- end -}}

{{- /* The options that name what is mounted of externalRedis.tls. */ -}}
{{- define "signalbox.redisFiles" -}}
{{- if .Values.externalRedis.tls.caSecret }}
REDIS_CA_FILE: /etc/redis-ca/ca.crt
{{- end }}
{{- if .Values.externalRedis.tls.certSecret }}
REDIS_CERT_FILE: /etc/redis-cert/tls.crt
REDIS_KEY_FILE: /etc/redis-cert/tls.key
{{- end }}
{{- end -}}

{{- define "signalbox.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "signalbox.secretName" -}}
{{ .Values.existingSecret | default (include "signalbox.name" .) }}
{{- end -}}

{{- define "signalbox.redisSecretName" -}}
{{ .Values.redis.existingSecret | default (printf "%s-redis" (include "signalbox.name" .)) }}
{{- end -}}

{{- /* The password of the bundled Redis: the one given, or the one that is there, or a new one. */ -}}
{{- define "signalbox.redisPassword" -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace (include "signalbox.redisSecretName" .) | default dict -}}
{{- if .Values.redis.password -}}
{{ .Values.redis.password }}
{{- else if hasKey ($there.data | default dict) "password" -}}
{{ $there.data.password | b64dec }}
{{- else -}}
{{ randAlphaNum 32 }}
{{- end -}}
{{- end -}}

{{- /* A value as an environment variable has it: numbers of a values file arrive as floats. */ -}}
{{- define "signalbox.text" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{- /* What the schema cannot say: values that only together are wrong. */ -}}
{{- define "signalbox.validate" -}}
{{- $served := regexSplit "[, ]+" .Values.config.PROTOCOLS -1 -}}
{{- if and (eq .Values.config.SERVER_REGISTRATION "unset") (eq .Values.config.ENVIRONMENT "production") (or (not .Values.config.PROTOCOLS) (has "registry" $served)) -}}
  {{- fail "config.SERVER_REGISTRATION must be open, secret or signed where config.ENVIRONMENT is production" -}}
{{- end -}}
{{- $given := list -}}
{{- range $name, $value := .Values.secrets -}}
{{- if $value -}}{{- $given = append $given $name -}}{{- end -}}
{{- end -}}
{{- if .Values.existingSecret -}}
  {{- if or $given .Values.externalRedis.url -}}
    {{- fail "existingSecret holds all keys: with it, secrets.* and externalRedis.url must be empty" -}}
  {{- end -}}
{{- else -}}
  {{- if not (or .Values.redis.enabled .Values.externalRedis.url) -}}
    {{- fail "there is no Redis: set externalRedis.url, or existingSecret with the key REDIS_URL, or redis.enabled=true" -}}
  {{- end -}}
  {{- if and (eq .Values.config.SERVER_REGISTRATION "secret") (not (has "SERVER_REGISTRATION_SECRET" $given)) -}}
    {{- fail "config.SERVER_REGISTRATION=secret needs secrets.SERVER_REGISTRATION_SECRET" -}}
  {{- end -}}
  {{- if and (ne .Values.config.REQUIRE_ATTESTATION "off") (not (has "ATTESTATION_SIGNING_KEY" $given)) -}}
    {{- fail "config.REQUIRE_ATTESTATION needs secrets.ATTESTATION_SIGNING_KEY" -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.redis.enabled .Values.externalRedis.url -}}
  {{- fail "there are two: with externalRedis.url, set redis.enabled=false" -}}
{{- end -}}
{{- $tls := .Values.externalRedis.tls -}}
{{- $url := .Values.externalRedis.url -}}
{{- if or $tls.caSecret $tls.certSecret $tls.serverName -}}
  {{- if .Values.redis.enabled -}}
    {{- fail "externalRedis.tls is for a Redis of yours, the bundled one speaks no TLS: set redis.enabled=false" -}}
  {{- end -}}
  {{- if and $url (not (hasPrefix "rediss" $url)) -}}
    {{- fail "externalRedis.tls has no effect on a URL without TLS: externalRedis.url must begin with rediss:// or rediss+sentinel://" -}}
  {{- end -}}
{{- end -}}
{{- range $option, $value := dict "REDIS_CA_FILE" $tls.caSecret "REDIS_CERT_FILE" $tls.certSecret "REDIS_KEY_FILE" $tls.certSecret "REDIS_SERVER_NAME" $tls.serverName -}}
  {{- if and $value (index $.Values.config $option) -}}
    {{- printf "externalRedis.tls sets config.%s: leave that empty" $option | fail -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.redis.sentinel.enabled (not .Values.redis.enabled) -}}
  {{- fail "redis.sentinel is about the bundled Redis: set redis.enabled=true; Sentinels of yours are named in externalRedis.url" -}}
{{- end -}}
{{- if and .Values.redis.sentinel.enabled (or (has "REDIS_SENTINEL_PASSWORD" $given) .Values.config.REDIS_SENTINEL_USER) -}}
  {{- fail "the bundled Sentinels take the password of the bundled Redis: secrets.REDIS_SENTINEL_PASSWORD and config.REDIS_SENTINEL_USER must be empty" -}}
{{- end -}}
{{- if and (contains "+sentinel://" $url) .Values.networkPolicy.enabled -}}
  {{- range $host := regexReplaceAll "^[^/]*//([^@/]*@)?([^/]*)/.*$" $url "${2}" | splitList "," -}}
    {{- $port := regexFind "[0-9]+" (regexFind ":[0-9]+$" $host | default ":26379") | int -}}
    {{- if ne $port (int $.Values.networkPolicy.sentinelPort) -}}
      {{- printf "networkPolicy.sentinelPort=%d keeps workers from the Sentinels of externalRedis.url: set it to %d" (int $.Values.networkPolicy.sentinelPort) $port | fail -}}
    {{- end -}}
  {{- end -}}
{{- else if and .Values.externalRedis.url .Values.networkPolicy.enabled -}}
  {{- $port := regexFind "[0-9]+" (regexFind ":[0-9]+(/[0-9]*)?$" .Values.externalRedis.url | default ":6379") | int -}}
  {{- if ne $port (int .Values.networkPolicy.redisPort) -}}
    {{- printf "networkPolicy.redisPort=%d keeps workers from externalRedis.url: set it to %d" (int .Values.networkPolicy.redisPort) $port | fail -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.redis.password .Values.redis.existingSecret -}}
  {{- fail "redis.existingSecret holds the password: with it, redis.password must be empty" -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
  {{- fail "autoscaling.minReplicas must not be above autoscaling.maxReplicas" -}}
{{- end -}}
{{- end -}}
